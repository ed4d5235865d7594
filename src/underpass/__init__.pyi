from underpass.nic import attach as attach
from underpass.stack.stack import Connection as Connection
from underpass.stack.stack import Listener as Listener
from underpass.stack.stack import Stack as Stack

__version__: str
