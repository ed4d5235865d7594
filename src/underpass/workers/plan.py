"""What workers are to do: one application by all of them, or several, each by workers of its own."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from underpass.linux.admission import LET_ALL_IN, AdmissionPlan, flows_of
from underpass.nic import MODERATION_S

DRAIN_S = 5.0
MOST_SERVICES = 64                  # of which it is known who serves them (tcp/tcb.pxd, MAX_SERVICES)


@dataclasses.dataclass(frozen=True)
class WorkerPlan:
    """What every worker of an application is to do.

    `application` is "module:function": called in the worker with its stack and `arguments`, it returns a
    `workers.worker.Application`. `claims` are its ports. `user`: whom a worker becomes; None: it keeps the
    supervisor's. `readable`: directories in which it may open files. `source_ports`: how many ports to take
    from the kernel for connections that workers open, each from its share of them; 0: they open none.
    `workers`: how many it has of its own, where it is one of several; 0: those that the others leave.

    `program`: in place of an application, the command line of an asyncio program, which each worker runs. It
    claims what it listens on by itself, and its workers may open files and call what they like.
    """

    application: str = ""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    claims: Sequence[tuple[str, int]] = ()
    readable: Sequence[str] = ()
    user: str | None = "nobody"
    limits: dict[str, int | str] = dataclasses.field(default_factory=dict)
    moderation: float = MODERATION_S
    frames: int = 16384
    source_ports: int = 0
    drain_s: float = DRAIN_S
    log_format: str = "text"            # of what a worker itself says
    admission: AdmissionPlan = LET_ALL_IN
    workers: int = 0
    program: Sequence[str] = ()

    def command(self, descriptor: int) -> list[str]:
        """Python's arguments that make a process a worker, whose channel this is."""
        if self.program:
            return ["-m", "underpass.aio.worker", str(descriptor), self.user or "", *self.program]
        return ["-m", "underpass.workers.worker", str(descriptor), self.application]


Plans = WorkerPlan | Sequence[WorkerPlan]


def listed(plans: Plans) -> Sequence[WorkerPlan]:
    """One is the only one."""
    return [plans] if isinstance(plans, WorkerPlan) else plans


def left_over(workers: int, own: Sequence[int], shared: bool) -> int:
    """How many workers are left beside those that applications have of their own; `shared`: there is one that
    needs them. Raises ValueError in one line where they do not suffice, or would have nothing to do.
    """
    left = workers - sum(own)
    if left < shared:
        raise ValueError(f"{workers} workers are too few: {sum(own)} are some application's own"
                         f"{', and the others need one' if shared else ''}")
    if left and not shared:
        raise ValueError(f"{left} of {workers} workers would have nothing to serve")
    return left


class Division:
    """The plans of `workers` workers: those with workers of their own first, in their order.

    Raises ValueError as `left_over`, and for more than 64 addresses and ports of several applications.
    """

    def __init__(self, given: Plans, workers: int) -> None:
        plans = listed(given)
        own = [it for it in plans if it.workers]
        rest = [it for it in plans if not it.workers]
        if len(rest) > 1:
            raise ValueError("two applications cannot share the workers that others leave")
        left = left_over(workers, [it.workers for it in own], bool(rest))
        self.shares: list[tuple[WorkerPlan, int, int]] = []     # plan, its first worker, how many
        first = 0
        for it in [*own, *rest]:
            self.shares.append((it, first, it.workers or left))
            first += it.workers
        if len(self.shares) > 1 and len(self.claims) > MOST_SERVICES:
            raise ValueError(f"{len(self.claims)} addresses and ports of several applications are more than"
                             f" {MOST_SERVICES}")

    def of(self, number: int) -> WorkerPlan:
        """A worker's."""
        return next(it for it, first, count in self.shares if first <= number < first + count)

    @property
    def plans(self) -> list[WorkerPlan]:
        """In the order of their workers."""
        return [it for it, _, _ in self.shares]

    @property
    def claims(self) -> list[tuple[str, int]]:
        """Of all together."""
        return [claim for it in self.plans for claim in it.claims]

    @property
    def flows(self) -> int:
        """Connections and TIME_WAIT entries that all workers together can have."""
        return sum(count * flows_of(it.limits) for it, _, count in self.shares)

    @property
    def admission(self) -> AdmissionPlan:
        """The program's, which is one for all."""
        return self.plans[0].admission

    @property
    def source_ports(self) -> int:
        """As many as any of them wants."""
        return max(it.source_ports for it in self.plans)

    @property
    def drain_s(self) -> float:
        """How long the most patient one waits."""
        return max(it.drain_s for it in self.plans)

    def whole(self) -> list[dict[str, Any]]:
        """What a next supervisor compares, besides the claims, as JSON gives it back."""
        plans = [dataclasses.asdict(it) | {"claims": None} for it in self.plans]
        compared: list[dict[str, Any]] = json.loads(json.dumps(plans))
        return compared
