from underpass.aio.factory import install as install
from underpass.aio.factory import loop_factory as loop_factory
from underpass.aio.factory import run as run
from underpass.aio.restart import on_restart as on_restart
from underpass.linux.admission import AdmissionPlan as AdmissionPlan
from underpass.nic import attach as attach
from underpass.stack.sockets import Connection as Connection
from underpass.stack.sockets import Listener as Listener
from underpass.stack.stack import ACCEPTED as ACCEPTED
from underpass.stack.stack import CLOSED as CLOSED
from underpass.stack.stack import CONNECTED as CONNECTED
from underpass.stack.stack import READABLE as READABLE
from underpass.stack.stack import TROUBLE as TROUBLE
from underpass.stack.stack import URGENT as URGENT
from underpass.stack.stack import WRITABLE as WRITABLE
from underpass.stack.stack import Stack as Stack

__version__: str
