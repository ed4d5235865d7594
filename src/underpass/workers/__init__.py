"""Several workers on one interface, each a process without privileges, and the supervisor that has them."""

from underpass.workers.supervisor import Supervisor, WorkerPlan

__all__ = ["Supervisor", "WorkerPlan"]
