"""One of several processes that run the same asyncio program, each with its share of an interface.

    the command runs; it listens, connects or sleeps --> `warm`
    the plan is taken, the stack made                --> `ready`
"""

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from underpass.aio.dispatch import Dispatcher
from underpass.aio.launch import put_in_place, run_words
from underpass.aio.loop import StackEventLoop
from underpass.aio.member import Ports, ProgramMember, ProgramStack
from underpass.linux import sandbox
from underpass.stack.arena import VERSION
from underpass.workers.channel import Channel
from underpass.workers.member import failure, first_message

LAYOUT = f"{VERSION}:program"       # of what one process leaves to the next


class Seat:
    """This process's share of an interface, which one event loop at a time has: to that it is a `Nic`.
    `once`: it is given back with that loop.
    """

    def __init__(self, channel: Callable[[], Channel], once: bool = False) -> None:
        self._open_channel, self._once = channel, once
        self._member: ProgramMember | None = None
        self._taken = False
        self.name = ""                  # the interface's, once it is known
        self._pid = os.getpid()

    def make_loop(self) -> StackEventLoop:
        """An event loop that takes it when it first listens or connects."""
        return StackEventLoop(self)

    @property
    def is_awaited(self) -> bool:
        """Whether the supervisor waits for it to be taken, whatever the program does."""
        return not self._once and not self._taken

    @property
    def dispatcher(self) -> Dispatcher:
        """One for all loops, one after the other."""
        return self.member.dispatcher

    @property
    def member(self) -> ProgramMember:
        """Who has it."""
        assert self._member is not None
        return self._member

    @property
    def addresses(self) -> tuple[str, ...]:
        """The interface's addresses, as Linux has them now."""
        return self.member.stack.addresses

    @property
    def ports(self) -> Ports | None:
        """Those that outgoing connections come from."""
        ports = self.member.plan["ports"]
        return Ports(*ports) if ports else None

    def stack(self, **limits: int | str) -> ProgramStack:
        """The worker's, whose limits are the plan's; the first call waits for that. Raises OSError EBUSY
        while another loop has it, and what keeps it from being made.
        """
        if limits:
            raise ValueError("the limits of a worker's stack are its supervisor's to give")
        if os.getpid() != self._pid:
            refuse_child()
        if self._taken:
            raise OSError(errno.EBUSY, "the worker's share of the interface has an event loop: run a program"
                                       " that makes several with --loops in place of --workers")
        if self._member is None:
            self._member = sit_down(self._open_channel(), self._once)
            self.name = self._member.plan["netdev"]["name"]
            self._member.wait_for_others()
        self._taken = True
        return self._member.stack

    def close(self) -> None:
        """The event loop is closed; another one may come."""
        self._taken = False
        if self._once:
            self.leave()

    def leave(self) -> None:
        """Nobody comes any more. May be called twice."""
        if self._member is not None and os.getpid() == self._pid:
            member, self._member = self._member, None
            member.close()
            member.channel.send({"say": "ended", "counters": {}})
            member.channel.close()


class NotInherited:
    """Has event loops refused in processes that the program starts by multiprocessing: unpickled there first.
    """

    def __reduce__(self) -> Any:
        return put_in_place, (refuse_child, self)


def refuse_child() -> StackEventLoop:
    """Raises OSError EBUSY."""
    raise OSError(errno.EBUSY, "the worker's share of the interface is another process's: run a program that"
                               " starts processes of its own with --loops in place of --workers")


def sit_down(channel: Channel, borrowed: bool) -> ProgramMember:
    """Take the plan. Raises OSError, which the supervisor is told as well."""
    if not borrowed:
        channel.send({"say": "warm", "layout": LAYOUT})
    try:
        return ProgramMember(channel, *first_message(channel))
    except EOFError:
        channel.close()
        raise OSError(errno.ENOTCONN, "the supervisor is gone") from None
    except (OSError, ValueError) as error:
        channel.send(failure(error))
        channel.close()
        raise


def share_ports() -> None:
    """Have the kernel let each of the processes listen on the same port, whatever the program says: there it
    serves what does not come by the interface.
    """
    bind = socket.socket.bind

    def shared(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bind(sock, address)

    socket.socket.bind = shared         # type: ignore[assignment, method-assign]


def begin(descriptor: int, user: str) -> socket.socket:
    """What a process that runs a program does first: become that user, if one is named. Returns the socket
    that it was given.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())      # a new supervisor has some wait
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    if user:
        sandbox.become(user)
        sandbox.no_new_privileges()
    return end


def main(descriptor: int, user: str, words: list[str]) -> int:
    """The process's life."""
    channel = Channel(begin(descriptor, user))
    seat = Seat(lambda: channel)
    put_in_place(seat.make_loop, NotInherited())
    share_ports()
    try:
        return run_words(words)
    finally:
        seat.leave()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
