"""The supervisor: the one process with privileges. It is never on a packet's way.

    XDP program, AF_XDP sockets, port claims --opened here--> workers, one for each share of the queues
    netlink --> Mirror --> Control --> every worker                neighbours wanted --> Linux

A worker that dies is started again, on the same sockets and memory where another process can go on with them;
the other queues do not notice. The workers hold the attachment too: without the supervisor they go on, and
the next supervisor takes them over. In the same way a supervisor becomes the program that is installed now:
it executes that, which finds the workers alone.

The device's queues and how it spreads packets over them are looked at every two seconds. A queue that is new
is given to a running worker: no connection is lost, as some would be if the worker were started anew.
"""

import dataclasses
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import Any

from underpass.closing import Closing
from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.link.handover import HandoverArea
from underpass.linux.admission import Admission, AdmissionPlan, let_all_in
from underpass.linux.claim_table import ClaimTable
from underpass.linux.control import Control
from underpass.linux.mirror import Mirror
from underpass.linux.netdev_features import as_attached
from underpass.linux.ports import PortRange
from underpass.linux.rss import Queues, queues
from underpass.log import Event, Log, Say
from underpass.nic import checked, path_in_words, policy_of, protected, tend, told_of_refused
from underpass.shield.policy import Policy
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable
from underpass.workers.adoption import Adopted, adopt, fitting, orphans
from underpass.workers.channel import Message
from underpass.workers.claims import WorkerClaims, service_in
from underpass.workers.counters import summed
from underpass.workers.fleet import Fleet
from underpass.workers.holdings import Holdings
from underpass.workers.plan import Division, Plans
from underpass.workers.remote import RemoteWorker, Waiting, eventfd
from underpass.xdp.steer_object import VERSION

LOOK_S = 0.5                        # how often the supervisor looks at the clock, at least
LOOK_AT_QUEUES_S = 2.0              # and at the device's queues and how it spreads packets over them
WARM_S = 0.02                       # how often it looks whether a successor is warm
QUEUES_MAX = 256                    # that the XDP program serves
GRACE_S = 1.0                       # beyond the time to drain, before a worker is killed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the program that is installed now is tried by.
NEW_PROGRAM = ("import underpass.cli.serve, underpass.cli.run, underpass.apps.runner; "
               "from underpass.xdp.steer_object import VERSION; print(VERSION)")
TO_STDERR = Log()
CLAIMS_MAX = 1000                   # that wait until every worker has begun
GOES_ON = "another process goes on with its connections"
FLOWS = 65536                       # connections of all workers, unless limits say more


class Supervisor(Closing):
    """An interface with `workers` workers, each with its share of the receive queues; a context manager.

    All do what `plan` says, or, with several plans, each application has workers of its own (`Division`).
    `cores`: where they run, in turns; None: worker 0 on the first core that this process may use, and so on.
    `say` is told what happens, in one line each (`underpass.log`). `again`: the words by which this program
    was started, for `run` to start it anew once a reload is over. The other arguments are those of
    `underpass.attach`. Raises OSError in one line, as `attach` does, and where there are fewer queues than
    workers.
    """

    succeeds = "another process takes its place"        # of a program that has died

    def __init__(self, ifname: str, plan: Plans, *, workers: int = 1, cores: Sequence[int] | None = None,
                 mode: str = "auto", zero_copy: bool | None = None, checksum: bool = True,
                 segmentation: bool = True, busy_poll: bool = False, shield: Policy | str | None = None,
                 say: Say = TO_STDERR, again: Sequence[str] = ()) -> None:
        self.name, self.say, self._again, self._cores = ifname, say, list(again), cores
        self.division = Division(plan, workers)
        there = orphans(ifname)
        self.netdev = checked(ifname, bool(there))
        self._link_options: dict[str, Any] = {"zero_copy": zero_copy, "checksum": checksum,
                                              "segmentation": segmentation, "busy_poll": busy_poll}
        policy = shield if there else policy_of(shield)     # one that is in force there stays
        self._signals: list[int] = []
        self._reloading: list[RemoteWorker] = []
        self._to_claim: list[tuple[RemoteWorker, Message]] = []     # programs that wait for other workers
        self._successor: tuple[RemoteWorker, Waiting] | None = None     # who waits to take over from whom
        self._keeps_connections = True
        self._ending = self._renewing = self._established = False
        self._fixed = {"workers": workers, "mode": mode, "claims": [list(it) for it in self.division.claims],
                       **self._link_options}
        self._look_at = 0.0
        self._refused: dict[int, str] = {}      # new queues that cannot be served, and why
        self._selector = selectors.DefaultSelector()
        with ExitStack() as undo:
            undo.enter_context(self._selector)
            self.mirror = undo.enter_context(closing(Mirror(ifname)))
            adopted = adopt(there)
            same = not adopted or fitting(adopted, self._whole(), there)
            self._open(undo, mode, policy, cores, adopted[0] if adopted else None)
            self._begin(undo, adopted)
            self._established = True
            self._undo = undo.pop_all()
        if not same:
            self.say("the configuration is another one: each worker is drained, and started anew by it",
                     Event.RELOAD, interface=self.name, workers=len(self.workers))
            self._keeps_connections, self._reloading = False, list(self.workers)

    def _open(self, undo: ExitStack, mode: str, policy: Policy | str | None, cores: Sequence[int] | None,
              first: Adopted | None) -> None:
        """What all workers share: made anew, or what the first of those that are there has of it."""
        held = first.holdings if first else Holdings()
        self._seed: str = first.plan["seed"] if first else secrets.token_hex(32)
        attached = (held.beneath("program "), first.plan["program"]) if first else None
        number: int = self._fixed["workers"]
        flows = max(FLOWS, self.division.flows)
        admission = self.division.admission.with_room(flows)
        self.program, self.shield = protected(self.netdev, mode, policy, undo, admission=admission,
                                              attached=attached)
        self.netdev = as_attached(self.netdev)
        if first:
            self.netdev = dataclasses.replace(self.netdev, copy_because=first.plan["netdev"]["copy_because"])
        self.refused = told_of_refused(self.program, self.shield, self.say)
        self._admitting = admission.without(self.refused)
        self.admission = self._admission(self._admitting)
        self.queues = queues(self.name, self.netdev.index) or Queues(self.netdev.queues, None)
        self.workers = [RemoteWorker(*it) for it in shares(self.netdev.queues, number, self.name, cores)]
        for worker in self.workers:
            worker.runs_program = bool(self.division.of(worker.number).program)
        self.fleet = Fleet(self.workers)
        self.ports = undo.enter_context(self._ports(first)) if self.division.source_ports else None
        if self.ports:
            self.program.set_flow_range(self.ports.first, self.ports.last)
        self.claims = undo.enter_context(closing(ClaimTable(self.name, self.program, self.say)))
        self.control = Control(self.fleet, self.mirror, self.program, self.claims, self.say,
                               admission=self.admission)
        self.services = ServiceTable(held.one("services"))
        self.served = WorkerClaims(self.division, self.claims, self.services)
        self.flows = self.admission.table if self.admission else FlowTable(
            flows, memfd=held.one("flows"), bytes=first.plan["flows_bytes"] if first else 0)
        self.area = HandoverArea(len(self.workers), held.one("area"))
        self.eventfds = held.all("eventfd") or [eventfd() for _ in self.workers]
        for descriptor in self.eventfds:
            undo.callback(os.close, descriptor)

    def _begin(self, undo: ExitStack, adopted: list[Adopted]) -> None:
        """Have every worker run."""
        self._selector.register(self.mirror, selectors.EVENT_READ)
        undo.callback(self._dismiss)
        for worker in self.workers:
            undo.callback(self._end, worker)
        self._take_in(adopted)
        for worker in self.workers:
            if worker.process is None:
                self._forget(worker)
                self._start(worker)

    # another supervisor's workers

    def _whole(self) -> dict[str, Any]:
        """What a next supervisor compares: what cannot change while workers serve, and the rest."""
        return {"fixed": self._fixed, "plan": self.division.whole()}

    def _ports(self, first: Adopted | None) -> PortRange:
        if first is None:
            return PortRange(self.division.source_ports)
        lowest, highest = first.plan["all_ports"]
        return PortRange.adopted(lowest, highest, first.holdings.one("ports"))

    def _take_in(self, adopted: list[Adopted]) -> None:
        """They are ours, as if we had started them."""
        for one in adopted:
            worker = self.workers[one.number]
            held, plan = one.holdings, one.plan
            worker.adopted = True
            worker.queues, worker.core = tuple(plan["link"]["queues"]), plan["core"]
            worker.frames = Frames(plan["frames"], plan["frame_bytes"], memfd=held.one("frames"), resume=True)
            worker.link = AfXdpLink(
                worker.frames, self.netdev, worker.queues, program=self.program, run=False,
                ring_size=plan["link"]["ring_size"], adopted=plan["link"], adopted_fds=held.all("socket"))
            worker.state = tuple(held.all("arena") + held.all("memory"))
            worker.take_in(one)
            self.served.adopt(one.number, one.claims, held.all("claim"))
            held.close("frames", "flows", "area", "services")
            if one is not adopted[0]:
                held.close("eventfd", "ports", *(name for name in held.names if name.startswith("program ")))
            self._introduce(worker)
        if adopted:
            them = ", ".join(f"{one.number} (process {one.pid})" for one in adopted)
            self.say(f"the supervisor of {self.name} is gone: worker {them} has another one now",
                     Event.SUPERVISOR_CAME, interface=self.name, workers=[one.pid for one in adopted])
        for worker in self.workers:
            if adopted and worker.process is None:
                self.say(f"worker {worker.number} is gone with its connections", Event.WORKER_GONE,
                         worker=worker.number)

    def _admission(self, plan: AdmissionPlan) -> Admission | None:
        """What the XDP program decides about new flows, where that is asked for."""
        if not plan.features:
            let_all_in(self.program)        # whatever another supervisor had it do
            return None
        return Admission(plan, self.netdev, self.program, seed=bytes.fromhex(self._seed),
                         limits=self.division.plans[0].limits)

    # one worker

    def _start(self, worker: RemoteWorker, its: Waiting | None = None) -> None:
        """Open what it needs, where the process before it has left nothing, and run it, in a process that
        waits if there is one.
        """
        if worker.crashed or worker.suspended or worker.replaced:
            self._run(worker, its)
            return
        worker.queues = self._there(worker)
        worker.frames = Frames(self.division.of(worker.number).frames,
                               chunk_bytes_for(self.netdev.mtu, self.netdev.receive_unit))
        worker.link = AfXdpLink(worker.frames, self.netdev, worker.queues, program=self.program, run=False,
                                **self._link_options)
        self._run(worker, its)

    def _run(self, worker: RemoteWorker, waiting: Waiting | None) -> None:
        """Run it, on what the process before it has left if another one waits to take that over, and tell it
        Linux's tables.
        """
        plan = self._plan_for(worker) | {
            "resume": bool(worker.state), "crashed": worker.crashed or worker.replaced}
        worker.start(plan, self._holdings_for(worker), waiting or Waiting(self.division.of(worker.number)))
        worker.adopted = False
        self._introduce(worker)

    def _introduce(self, worker: RemoteWorker) -> None:
        """It runs: hear it, and tell it Linux's tables."""
        assert worker.channel is not None
        assert worker.process is not None
        self._selector.register(worker.channel, selectors.EVENT_READ, worker)
        self._selector.register(worker.process.pidfd, selectors.EVENT_READ, worker)
        self.mirror.apply(worker)
        if not worker.ready:
            worker.go()

    def _there(self, worker: RemoteWorker) -> tuple[int, ...]:
        """Those of its queues that the device still has."""
        return tuple(queue for queue in worker.queues if queue < self.queues.count)

    def _plan_for(self, worker: RemoteWorker) -> Message:
        assert worker.link is not None
        assert worker.frames is not None
        its = self.division.of(worker.number)
        pinned = self._cores or not its.program         # a program's threads would all be where its loop is
        ports = share_of(self.ports, worker.number, len(self.workers)) if self.ports else None
        return {
            "number": worker.number, "workers": len(self.workers), "core": worker.core if pinned else None,
            "seed": self._seed,
            "given_up": worker.given_up, "supervisor": os.getpid(), "uid": os.geteuid(),
            "renews": bool(self._again), "whole": self._whole(), "program": self.program.facts(),
            "all_ports": [self.ports.first, self.ports.last] if self.ports else [],
            "netdev": dataclasses.asdict(self.netdev) | {"mac": self.netdev.mac.hex()},
            "link": worker.link.facts(),
            "frames": worker.frames.count, "frame_bytes": worker.frames.chunk_bytes,
            "application": its.application, "arguments": its.arguments,
            "limits": its.limits, "ports": ports, "steering": self._steering(),
            "readable": list(its.readable), "user": its.user, "moderation": its.moderation,
            "drain_s": its.drain_s, "log": its.log_format,
            "flows_bytes": self.flows.bytes,
            "gate": {"cookies": self._admitting.syn_cookies != "off",
                     "refuses": self._admitting.overload} if self.admission else None,
        }

    def _holdings_for(self, worker: RemoteWorker) -> Holdings:
        """Everything that it needs, and that the next supervisor would need."""
        assert worker.link is not None
        assert worker.frames is not None
        held = Holdings(zip(("arena", "memory"), worker.state, strict=False))
        for name, descriptor in (("frames", worker.frames.memfd), ("flows", self.flows.memfd),
                                 ("area", self.area.memfd), ("services", self.services.memfd)):
            held.add(name, descriptor)
        for name, descriptor in self.program.descriptors().items():
            held.add(f"program {name}", descriptor)
        if self.ports:
            held.add("ports", self.ports.lock_fd)
        for descriptor in self.eventfds:
            held.add("eventfd", descriptor)
        for descriptor in worker.link.all_fds:
            held.add("socket", descriptor)
        return held

    def _hear(self, worker: RemoteWorker) -> None:
        for message in worker.hear():
            match message.get("say"):
                case "ready":
                    self._is_ready(worker, message)
                case "wanted" | "using":
                    self.fleet.note(message)
                case "wait" | "claim" | "leave" | "release" if worker.runs_program:
                    self._change_claim(worker, message)
                case "serves":
                    if worker.serves(message.get("queue")):
                        self.say(f"queue {message['queue']} is served by worker {worker.number}",
                                 Event.QUEUE_SERVED, queue=message["queue"], worker=worker.number)
                case "draining":
                    worker.draining = True
                    self.served.drain(worker.number)
                case "failed":
                    worker.failed = str(message.get("why"))[:200]
                case "unconfined":
                    why = str(message.get("why"))[:200]
                    self.say(f"worker {worker.number} is less confined than it could be: {why}",
                             Event.WORKER_UNCONFINED, worker=worker.number, reason=why)

    def _change_claim(self, worker: RemoteWorker, message: Message) -> None:
        """A program listens somewhere, or leaves off, or waits until it may."""
        if not self._may_claim and len(self._to_claim) < CLAIMS_MAX:
            self._to_claim.append((worker, message))
            return
        try:
            match message["say"]:
                case "claim":
                    self.served.claim(worker.number, *service_in(message), message.get("holder", -1))
                case "leave":
                    self.served.leave(worker.number, *service_in(message))
                case "release":
                    self.served.release(worker.number, *service_in(message))
        except OSError as error:
            worker.answer(message.get("number"), error)
        else:
            worker.answer(message.get("number"), None)

    @property
    def _may_claim(self) -> bool:
        """Whether each queue has its worker: what one without got by the kernel would be reset later."""
        return all(worker.registered or worker.ended for worker in self.workers)

    def _is_ready(self, worker: RemoteWorker, message: Message) -> None:
        """It serves."""
        if worker.ready or worker.link is None or worker.process is None:
            return
        worker.is_ready()
        self.served.begin(worker.number)
        if not worker.runs_program:             # a program says so itself, perhaps in the same breath
            worker.settled = worker.keeps = True
        if worker.starts > 1:
            recovered = f": {outcome(message)}" if worker.crashed else ""
            self.say(f"worker {worker.number} serves again, as process {worker.process.pid}{recovered}",
                     Event.WORKER_SERVES, worker=worker.number, pid=worker.process.pid, starts=worker.starts,
                     outcome=outcome(message) if worker.crashed else None)
        worker.crashed = worker.replaced = False
        if self._may_claim:
            waiting, self._to_claim = self._to_claim, []
            for one, asked in waiting:
                self._change_claim(one, asked)

    def _buried(self, worker: RemoteWorker) -> None:
        """Its process has ended: what it had goes, so that nobody gives it packets."""
        self._hear(worker)
        process, channel = worker.process, worker.channel
        assert process is not None
        assert channel is not None
        self._selector.unregister(channel)
        self._selector.unregister(process.pidfd)
        how = worker.bury()
        if worker.suspended and self._go_on(worker):
            return
        who = f"worker {worker.number} (process {process.pid}, queues {text_of(worker.queues)})"
        if worker.suspended:
            return
        if worker.crashed and not self._ending:
            next_one = self.succeeds if worker.runs_program else GOES_ON
            self.say(f"{who} {how}; {next_one}", Event.WORKER_DIED, worker=worker.number, pid=process.pid,
                     queues=worker.queues, reason=how)
        if worker.crashed or worker.replaced:
            return
        self._to_claim = [it for it in self._to_claim if it[0] is not worker]
        lost = self._forget(worker)
        if worker.starts == 1 and not worker.ready:
            worker.failed = worker.failed or f"worker {worker.number} {how} before it served"
        elif not worker.leaving and not worker.ended:
            self.say(f"{who} {how}; {lost} connections are lost", Event.WORKER_DIED, worker=worker.number,
                     pid=process.pid, queues=worker.queues, reason=how, connections_lost=lost)

    def _forget(self, worker: RemoteWorker) -> int:
        """Nothing goes to it any more; returns how many connections it had."""
        self.served.forget(worker.number)
        self.area.clear(worker.number)
        return self.flows.forget(worker.number)

    def _go_on(self, worker: RemoteWorker) -> bool:
        """Have the process that waits take over what the last one has left. False: there is none; the next
        one does.
        """
        successor, self._successor = self._successor, None
        if successor is None or successor[0] is not worker or successor[1].process.ended:
            return False
        self._run(worker, successor[1])
        return True

    def _end(self, worker: RemoteWorker) -> None:
        """Whatever state it is in; one that is not yet ours goes on."""
        if worker.adopted and not self._established:
            worker.abandon()
            return
        worker.kill()
        if worker.process is not None:
            worker.process.wait()
        worker.release()

    # the device's queues

    def _steering(self) -> Message | None:
        """How the device spreads packets, in a message."""
        it = self.queues.spread
        if it is None:
            return None
        return {"key": it.key.hex(), "indirection": it.indirection, "v4": it.v4, "v6": it.v6}

    def _follow_queues(self) -> None:
        """Give queues that are new to workers, and tell all of a change in what goes where."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_AT_QUEUES_S
        tend(self.shield)
        before, self.queues = self.queues, queues(self.name, self.netdev.index) or self.queues
        if self.queues.count != before.count:
            self.say(f"{self.name} has {self.queues.count} receive queues now, it had {before.count}",
                     Event.QUEUES_CHANGED, interface=self.name, before=before.count, now=self.queues.count)
            self._renew_program()
        for queue in range(min(self.queues.count, QUEUES_MAX)):
            self._give(self.workers[queue % len(self.workers)], queue)
        if self.queues.spread != before.spread:
            for worker in self.workers:
                worker.set_steering(self._steering())

    def _renew_program(self) -> None:
        """A driver may not run the program on queues that are new."""
        try:
            self.program.renew()
        except OSError as error:
            self.say(f"{error.strerror}: new queues are Linux's until the link goes down and up",
                     Event.PROGRAM_NOT_RENEWED, interface=self.name, reason=error.strerror)

    def _give(self, worker: RemoteWorker, queue: int) -> None:
        """Unless it has the queue already, or is about to end."""
        if queue in worker.queues or worker.leaving:
            return
        try:
            worker.give_queue(queue)
        except OSError as error:
            why = f"queue {queue} is not served: {error.strerror}"
            if self._refused.get(queue) != why:
                self._refused[queue] = why
                self.say(why, Event.QUEUE_REFUSED, queue=queue, worker=worker.number, reason=error.strerror)

    # all of them

    @property
    def is_ready(self) -> bool:
        """Whether every worker serves."""
        return all(worker.ready for worker in self.workers)

    @property
    def _is_settled(self) -> bool:
        """Whether every worker does what it is there for, and hears who asks it."""
        return all(worker.settled for worker in self.workers)

    def turn(self, timeout: float = LOOK_S) -> None:
        """Wait for something to do, at most so long, and do it."""
        for key, _ in self._selector.select(min(timeout, self._wait_s())):
            worker = key.data
            if worker is not None and worker.process is not None and key.fd == worker.process.pidfd:
                self._buried(worker)
            elif worker is not None and worker.channel is not None and key.fd == worker.channel.fileno():
                self._hear(worker)
        self.control.serve(changed=True)
        self._follow_queues()
        self._reload_next()
        for worker in self.workers:
            if worker.process is None and not self._ending and time.monotonic() >= worker.start_at \
                    and self._there(worker) and not worker.ended:
                self._start(worker)

    def _wait_s(self) -> float:
        """Until the next worker is to be started again; one without a queue waits for one."""
        due = [it.start_at for it in self.workers
               if it.process is None and self._there(it) and not it.ended]
        if self._successor is not None:
            return WARM_S
        return max(0.0, min(due) - time.monotonic()) if due and not self._ending else LOOK_S

    def wait_ready(self, seconds: float = 0) -> None:
        """Until every worker serves. Raises OSError, in a worker's own words, where one cannot begin within
        so many seconds (by default 20, or 60 for programs).
        """
        seconds = seconds or (60 if any(it.program for it in self.division.plans) else 20)
        end = time.monotonic() + seconds
        while not self.is_ready:
            self.turn(0.1)
            failed = [worker for worker in self.workers if worker.failed]
            if failed:
                raise OSError(0, failed[0].failed)
            if time.monotonic() > end:
                raise TimeoutError(0, f"a worker does not begin within {seconds:g} s")

    def reload(self, plan: Plans | None = None) -> None:
        """Start every worker anew, one after the other, with the program that is installed now.

        The new process takes over every connection, where its memory has the same layout and its plan is the
        same; else the open ones are drained. Nothing is done where the new program does not start.
        """
        if self._again and not self._starts():
            return
        self.say("workers go on in new processes, one after the other", Event.RELOAD, interface=self.name,
                 workers=len(self.workers))
        before = self.division
        if plan:
            self.division = Division(plan, len(self.workers))
        self._renewing = bool(self._again)
        self._keeps_connections = before.shares == self.division.shares
        self._reloading = list(self.workers)

    def _reload_next(self) -> None:
        """The next one, once the last one serves again. Its successor warms up first, while it serves on."""
        if self._successor is not None:
            self._succeed(*self._successor)
        elif self._reloading and not self._ending and self._is_settled:
            worker = self._reloading.pop(0)
            self._successor = worker, Waiting(self.division.of(worker.number))

    def _succeed(self, worker: RemoteWorker, waiting: Waiting) -> None:
        """Once the successor is warm, the worker leaves."""
        if waiting.process.ended:
            status = waiting.process.wait()
            self.say(f"worker {worker.number} goes on: its successor ended with status {status}",
                     Event.SUCCESSOR_DIED, worker=worker.number, status=status)
            self._renewing = False
            self._dismiss()
        elif not waiting.is_warm() or worker.leaving or worker.process is None:
            return
        elif self._keeps_connections and worker.keeps and waiting.layout == worker.layout:
            worker.suspend()
        else:
            patience = self.division.of(worker.number).drain_s
            self.say(f"worker {worker.number} is drained: its successor cannot take its connections over",
                     Event.WORKER_DRAINED, worker=worker.number, seconds=patience)
            self._dismiss()
            worker.drain(patience)

    def _dismiss(self) -> None:
        """The process that waits is not needed."""
        if self._successor is not None:
            self._successor[1].end()
            self._successor = None

    def drain(self) -> dict[str, dict[str, int]]:
        """End all workers in order; returns their counters, summed. A second signal cuts it short: what is
        open then is reset.
        """
        self._reloading, self._ending = [], True
        patience = self.division.drain_s
        self.say(f"draining: open connections have {patience:g} s", Event.DRAIN, interface=self.name,
                 seconds=patience)
        self._dismiss()
        for worker in self.workers:
            worker.drain(self.division.of(worker.number).drain_s)
        end = time.monotonic() + patience + GRACE_S
        cut_short = False
        while time.monotonic() < end and any(it.process for it in self.workers):
            if self._told_to_end() >= 2 and not cut_short:
                cut_short, end = True, time.monotonic() + GRACE_S
                for worker in self.workers:
                    worker.drain(0)
            self.turn(0.1)
        return summed(worker.counters for worker in self.workers)

    def run(self, on_reload: Callable[[], Plans | None] = lambda: None) -> dict[str, dict[str, int]]:
        """Supervise until SIGINT or SIGTERM, then drain; SIGHUP reloads. Returns the workers' counters,
        summed.
        """
        with self._hearing_signals():
            while True:
                self.turn()
                if signal.SIGHUP in self._signals:
                    self._signals = [it for it in self._signals if it != signal.SIGHUP]
                    self.reload(on_reload())
                if self._renewing and not self._reloading and self._successor is None and self._is_settled:
                    self._renewing = False
                    self._renew()
                if self._told_to_end() or all(worker.ended for worker in self.workers):
                    return self.drain()

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        """They are noted meanwhile, those that waited as well."""
        before = {number: signal.signal(number, self._note_signal) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _renew(self) -> None:
        """Become the program that is installed now, as the same process: it finds the workers without a
        supervisor, and takes them over. Signals wait until it hears them.
        """
        if not self._starts():                  # it may be another one by now
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if self._signals:                       # they would be forgotten
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._renewing = True
            return
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execv(sys.executable, [sys.executable, *self._again])
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self.say(f"the supervisor goes on as it is: {sys.executable}: {error.strerror}",
                     Event.SUPERVISOR_NOT_RENEWED, reason=error.strerror)

    def _starts(self) -> bool:
        """Whether the program that is installed now starts, and can go on with the maps of this one."""
        tried = subprocess.run([sys.executable, "-c", NEW_PROGRAM], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, check=False)
        if tried.returncode:
            last = (tried.stderr.strip().splitlines() or [f"status {tried.returncode}"])[-1]
            why = f"the program that is installed does not start: {last}"
        elif tried.stdout.split()[-1:] != [str(VERSION)]:
            why = ("the program that is installed lays its XDP maps out in another way: "
                   "stop the server and start it anew")
        else:
            return True
        self.say(f"the supervisor goes on as it is: {why}", Event.SUPERVISOR_NOT_RENEWED, reason=why)
        return False

    def _told_to_end(self) -> int:
        """How often."""
        return sum(it != signal.SIGHUP for it in self._signals)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def summary(self) -> list[str]:
        """What is active, in lines for people."""
        link = self.workers[0].link
        assert link is not None
        return path_in_words(self.netdev, self.program.mode, link, link.why | self.refused)

    def close(self) -> None:
        """End all workers at once, detach, and give everything back. May be called twice."""
        self._undo.close()


def shares(queues: int, workers: int, ifname: str,
           cores: Sequence[int] | None) -> list[tuple[int, tuple[int, ...], int | None]]:
    """Number, queues and core of each worker. Raises ValueError where there are more workers than queues."""
    if not 1 <= workers <= queues:
        raise ValueError(f"{ifname} has {queues} receive queue(s), too few for {workers} workers: "
                         f"--workers {queues}, or `ethtool -L {ifname} combined {workers}`")
    allowed = sorted(os.sched_getaffinity(0))
    wrong = set(cores or ()) - set(allowed)
    if wrong:
        raise ValueError(f"core {min(wrong)} cannot be used here; cores are {text_of(allowed)}")
    chosen = list(cores) if cores else allowed if len(allowed) >= workers else []
    return [(number, tuple(range(number, queues, workers)), chosen[number % len(chosen)] if chosen else None)
            for number in range(workers)]


def share_of(ports: PortRange, number: int, workers: int) -> tuple[int, int]:
    """First and last source port of a worker."""
    each = (ports.last - ports.first + 1) // workers
    return ports.first + number * each, ports.first + (number + 1) * each - 1


def outcome(message: Message) -> str:
    """What a worker says has become of the connections of the process before it."""
    reset = message.get("reset")
    reasons = reset if isinstance(reset, dict) else {}
    count = sum(it for it in reasons.values() if isinstance(it, int))
    why = "; ".join(f"{reasons[it]}: {it}" for it in list(reasons)[:8])
    where = "in the middle of a turn" if message.get("midway") else "between two turns"
    return (f"the one before died {where}, {message.get('kept')} connections go on, {count} are reset"
            + (f" ({why})"[:400] if count else ""))


def text_of(numbers: Iterable[int]) -> str:
    """Numbers for a line: 0, 2."""
    return ", ".join(map(str, numbers))
