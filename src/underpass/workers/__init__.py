"""Several workers on one interface, each a process without privileges, and the supervisor that has them."""

from underpass.workers.plan import WorkerPlan
from underpass.workers.supervisor import Supervisor

__all__ = ["Supervisor", "WorkerPlan"]
