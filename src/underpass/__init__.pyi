from underpass.nic import attach as attach
from underpass.stack.sockets import Connection as Connection
from underpass.stack.sockets import Listener as Listener
from underpass.stack.stack import Stack as Stack

__version__: str
