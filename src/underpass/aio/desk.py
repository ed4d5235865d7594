"""A program that makes several event loops, in processes of its own or in threads: each has its share of an
interface.

The program inherits the desk, a socket whose other end is the supervisor's (`workers.lender`). An event loop
that wants a share makes a pair of sockets, hands one of them in there, and has the other as its channel.
"""

import multiprocessing.reduction
import socket
import sys
from typing import Any

from underpass.aio.launch import put_in_place, run_words
from underpass.aio.loop import StackEventLoop
from underpass.aio.worker import Seat, begin, share_ports
from underpass.workers.channel import Channel


class Desk:
    """Gives event loops out. Pickled for a process that the program starts by multiprocessing, it takes over
    there.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._channel = Channel(end)

    def make_loop(self) -> StackEventLoop:
        """An event loop that has a share of its own from when it first listens or connects until it is
        closed. Where all are taken that raises OSError EBUSY.
        """
        return Seat(self._borrow, once=True).make_loop()

    def _borrow(self) -> Channel:
        channel, other = Channel.pair()
        with other:
            self._channel.send({"say": "seat"}, [other.fileno()])
        return channel

    def take_over(self) -> None:
        """From now on the program's event loops are ours."""
        put_in_place(self.make_loop, self)
        share_ports()

    def __reduce__(self) -> Any:
        return inherit, (multiprocessing.reduction.DupFd(self._end.fileno()),)


def inherit(duplicate: Any) -> Desk:
    """In another process."""
    desk = Desk(socket.socket(fileno=duplicate.detach()))
    desk.take_over()
    return desk


def main(descriptor: int, user: str, words: list[str]) -> int:
    """The life of the program's first process."""
    Desk(begin(descriptor, user)).take_over()
    return run_words(words)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
