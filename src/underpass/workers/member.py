"""One process of those that serve an interface: its stack, and what passes between it and the supervisor.

Should the supervisor die, the process goes on: it holds the XDP attachment too. It learns no more of Linux's
tables then, until another supervisor takes it over (see adoption.py): for that it keeps a descriptor of
everything that was opened for it.
"""

import errno
import os
import select
import socket
import time

from underpass.linux.commands import commands
from underpass.linux.control_socket import Answer, ControlSocket, Request, Session, user_of
from underpass.linux.cookie import namespace_cookie
from underpass.linux.mirror import REFRESH_SECONDS, USED_LATELY_NS
from underpass.log import Event, Log
from underpass.workers.channel import PROTOCOL, Channel, Message
from underpass.workers.holdings import Holdings
from underpass.workers.stack import WorkerStack, make_stack, own_link


class Member:
    """Started by a plan, with every descriptor. What is not about the stack is `told` to who inherits."""

    kind: type[WorkerStack] = WorkerStack

    def __init__(self, channel: Channel, plan: Message, holdings: Holdings) -> None:
        self.channel, self.plan, self.holdings, self.say = channel, plan, holdings, Log(plan["log"])
        self.number: int = plan["number"]
        self.supervised = True
        self.supervisor: int = plan["supervisor"]
        self.serves = bool(plan["resume"])
        self._adopter: tuple[socket.socket, int] | None = None
        self._adoptions = 0
        self._namespace = namespace_cookie()
        self._refresh_at = time.monotonic() + REFRESH_SECONDS
        if plan["core"] is not None:
            os.sched_setaffinity(0, {plan["core"]})
        self.stack = make_stack(self.kind, plan, holdings)
        own = {"worker": self._tell, "adopt": self._adopt}
        self.asked = ControlSocket({**commands(self.stack, plan["netdev"]["name"]), **own})

    # what others may ask of it

    @property
    def is_draining(self) -> bool:
        """Whether it has been told to end."""
        return False

    @property
    def keeps_connections(self) -> bool:
        """Whether another process can go on with them."""
        return True

    @property
    def claims(self) -> list[tuple[tuple[str, int], int]]:
        """Addresses and ports that it has asked for, besides the plan's, and the sockets that hold them."""
        return []

    def told(self, message: Message) -> None:
        """What the supervisor says, but for Linux's tables and queues."""

    def attend(self, changed: bool, asked: bool) -> None:
        """Hear the supervisor, where its channel is readable, and whoever asks over the control socket."""
        if asked:
            self.asked.serve()
            self._welcome()
        if changed:
            self.hear()
        self._ask()

    def hear(self) -> None:
        """Carry out what the supervisor has said."""
        while self.supervised:
            try:
                heard = self.channel.receive()
            except EOFError:
                self.supervised = False
                self.channel.fall_silent()
                self.say(f"worker {self.number}: the supervisor is gone; serving on",
                         Event.SUPERVISOR_GONE, worker=self.number, pid=os.getpid())
                return
            if heard is None:
                return
            self._carry_out(*heard)

    def _carry_out(self, message: Message, descriptors: list[int]) -> None:
        if message.get("do") == "queue":
            self._add_queue(message["queue"], descriptors[0])
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if not self.stack.carry_out(message):
            self.told(message)

    # another supervisor

    def _tell(self, _session: Session, _request: Request) -> Answer:
        """Who it is, and whose."""
        return {"pid": os.getpid(), "interface": self.plan["netdev"]["name"], "number": self.number,
                "namespace": self._namespace, "supervisor": self.supervisor if self.supervised else 0,
                "adoptions": self._adoptions, "renews": self.plan["renews"]}, ()

    def _adopt(self, session: Session, request: Request) -> Answer:
        """Hand everything over to a new supervisor, where the old one is gone and the new one is its user."""
        self.hear()
        if self.supervised or self._adopter:
            raise OSError(errno.EBUSY, f"process {self.supervisor} supervises worker {self.number}")
        if user_of(session.peer) != self.plan["uid"]:
            raise PermissionError(errno.EPERM, "only the supervisor's own user takes its place")
        if request.get("protocol") != PROTOCOL:
            raise ValueError("the worker is of another version")
        session.taken = True
        self._adopter = session.peer, int(request["pid"])
        link = own_link(self.stack.link)
        held = Holdings(it for it in self.holdings if it[0] != "socket")
        for descriptor in link.all_fds:
            held.add("socket", descriptor)
        for _, descriptor in self.claims:
            held.add("claim", descriptor)
        return {"plan": self.plan | {"link": link.facts()}, "names": held.names, "ready": self.serves,
                "keeps": self.keeps_connections, "claims": [address for address, _ in self.claims],
                "draining": self.is_draining}, held.descriptors

    def _welcome(self) -> None:
        """The connection of the new supervisor becomes the channel."""
        if self._adopter is not None:
            peer, self.supervisor = self._adopter
            self.channel.become(peer)
            self.supervised, self._adopter = True, None
            self._adoptions += 1
            self._refresh_at = 0.0
            self.say(f"worker {self.number}: process {self.supervisor} is the supervisor now",
                     Event.SUPERVISOR_CAME, worker=self.number, pid=os.getpid(), supervisor=self.supervisor)

    # queues and neighbours

    def _add_queue(self, queue: int, descriptor: int) -> None:
        """What cannot be served is left as it is: the other queues go on."""
        try:
            self.stack.add_queue(queue, descriptor)
        except OSError as error:
            self.say(f"worker {self.number}: queue {queue}: {error.strerror}", Event.QUEUE_REFUSED,
                     worker=self.number, queue=queue, reason=error.strerror)
        else:
            self.channel.send({"say": "serves", "queue": queue})

    def _ask(self) -> None:
        """Neighbours that the stack wants, and now and then those that it uses."""
        wanted = self.stack.wanted()
        if wanted:
            self.channel.send({"say": "wanted", "neighbours": wanted})
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            known = self.stack.neighbours()
            using = [address for address, _, _, idle_ns in known if idle_ns < USED_LATELY_NS]
            self.channel.send({"say": "using", "neighbours": using[:1000]})


def first_message(channel: Channel) -> tuple[Message, Holdings]:
    """The plan; waits for it. Raises EOFError where the supervisor is gone, and OSError EBUSY: there is none
    for us.
    """
    select.select([channel], [], [])
    heard = channel.receive()
    if heard is not None and heard[0].get("do") == "refuse":
        raise OSError(errno.EBUSY, heard[0]["why"])
    if heard is None or heard[0].get("do") != "start":
        raise ValueError("the first message is not a plan")
    return heard[0], Holdings.received(heard[0].get("names"), heard[1])


def failure(error: OSError | ValueError) -> Message:
    """Why it cannot begin, in one line."""
    why = str(getattr(error, "strerror", None) or error)
    return {"say": "failed", "why": " ".join(why.split())}
