"""Finding the workers of an interface, and taking those over whose supervisor is gone.

A worker is asked over its control socket. It tells everybody who may ask which supervisor it has; it takes a
new one only when the old one is gone, and only if that is the same user's. Then it hands over a descriptor of
all that it has, with the plan that it was started by, and the connection becomes its channel.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from underpass.linux.control_socket import ControlClient, control_sockets
from underpass.linux.cookie import namespace_cookie
from underpass.workers.channel import DESCRIPTORS, PROTOCOL, Channel, Message
from underpass.workers.holdings import Holdings


@dataclass(frozen=True)
class Serving:
    """A worker as it tells of itself. `supervisor`: its pid, or 0. `adoptions`: how often it got another one.
    `renews`: whether the supervisor becomes the new program on a restart, too.
    """

    pid: int
    path: str
    interface: str
    namespace: int
    number: int
    supervisor: int
    adoptions: int
    renews: bool


def serving() -> list[Serving]:
    """The workers of all supervisors, present ones and past ones, as far as we may ask them."""
    found = []
    for pid, path in control_sockets():
        with suppress(OSError, KeyError), ControlClient(path) as client:
            it, _ = client.ask("worker")
            found.append(Serving(pid, path, str(it["interface"]), int(it["namespace"]), int(it["number"]),
                                 int(it["supervisor"]), int(it["adoptions"]), bool(it["renews"])))
    return sorted(found, key=lambda it: it.number)


def orphans(interface: str) -> list[Serving]:
    """Workers that serve the interface without a supervisor."""
    here = namespace_cookie()
    return [it for it in serving()
            if it.interface == interface and it.namespace == here and not it.supervisor]


class Adopted:
    """A worker that is ours now. `ready`: it serves; `draining`: it was told to end; `keeps`: its connections
    can pass to another process; `claims`: addresses and ports that it has asked for, besides the plan's.
    """

    def __init__(self, it: Serving) -> None:
        self.pid, self.number = it.pid, it.number
        client = ControlClient(it.path)
        try:
            answer, descriptors = client.ask("adopt", most=DESCRIPTORS, protocol=PROTOCOL, pid=os.getpid())
            self.holdings = Holdings.received(answer.get("names"), descriptors)
        except BaseException:
            client.close()
            raise
        self.plan: Message = answer["plan"]
        self.ready, self.draining = bool(answer["ready"]), bool(answer["draining"])
        self.keeps: bool = answer["keeps"]
        self.claims = [(str(address), int(port)) for address, port in answer["claims"]]
        self.channel = Channel(client.peer)

    def abandon(self) -> None:
        """It has no supervisor again."""
        self.channel.close()
        self.holdings.close()


def adopt(there: list[Serving]) -> list[Adopted]:
    """All of them, or none: OSError says why."""
    done: list[Adopted] = []
    try:
        for it in there:
            done += [Adopted(it)]
    except (OSError, ValueError) as error:
        for one in done:
            one.abandon()
        why = getattr(error, "strerror", None) or error
        raise OSError(errno.EBUSY, f"{there[0].interface} is served by workers whose supervisor is gone, and"
                                   f" they cannot be taken over: {why}; end them: {kill(there)}") from None
    return done


def kill(there: list[Serving]) -> str:
    """What ends them."""
    return "`kill " + " ".join(str(it.pid) for it in there) + "`"


def fitting(adopted: list[Adopted], whole: dict[str, Any], there: list[Serving]) -> bool:
    """Whether the workers were started by the same plan. Raises OSError, and leaves them alone again, where
    they cannot be had to serve by this one: what was opened for them has another form.
    """
    theirs = adopted[0].plan["whole"]
    for name, value in whole["fixed"].items():
        other = theirs["fixed"].get(name)
        if other != value:
            for one in adopted:
                one.abandon()
            raise OSError(errno.EBUSY, f"{there[0].interface} is served by workers whose supervisor is gone,"
                                       f" with {name} {other}, not {value}: start with that, or end them:"
                                       f" {kill(there)}")
    return bool(theirs["plan"] == whole["plan"])
