"""`underpass dump`: what workers receive and send, which tcpdump cannot see, and why one was refused."""

import argparse
import errno
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Protocol

from underpass.cli import Failure
from underpass.cli.common import add_json, add_log_format, count, positive
from underpass.log import Event, Log

if TYPE_CHECKING:
    from underpass.apps.runner import Stopping
    from underpass.observe.capture import Capture

SNAPLEN = 262144


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("filter", metavar="FILTER", nargs="*", help="only these packets: see pcap-filter(7)")
    parser.add_argument("--interface", "-i", metavar="IF", help="only the worker on this interface")
    parser.add_argument("--pid", type=int, help="only this worker")
    parser.add_argument("-w", dest="file", metavar="FILE.pcapng", help="write a capture file; - for stdout")
    parser.add_argument("-c", dest="count", type=count, metavar="COUNT", help="end after so many packets")
    parser.add_argument("-s", dest="snaplen", type=snaplen, metavar="SNAPLEN", default=SNAPLEN,
                        help=f"octets of each packet (default: {SNAPLEN}, all)")
    parser.add_argument("-d", dest="seconds", type=positive, metavar="SECONDS", help="end after so long")
    parser.add_argument("--refused", action="store_true", help="only packets that were not accepted")
    add_json(parser)
    add_log_format(parser)
    parser.epilog = ("examples:\n"
                     "  underpass dump -i eth0 tcp port 80\n"
                     "  underpass dump --refused\n"
                     "  underpass dump -w - host 192.0.2.7 | wireshark -k -i -")


def snaplen(text: str) -> int:
    """argparse type: 1 to SNAPLEN octets."""
    value = count(text)
    if value > SNAPLEN:
        raise argparse.ArgumentTypeError(f"{text} is more than the longest packet, {SNAPLEN}")
    return value


class Sink(Protocol):
    """Where packets go."""

    def begin(self, captures: "list[Capture]") -> None: ...
    def blocks(self, octets: bytes) -> None: ...
    def end(self, captures: "list[Capture]") -> None: ...


def run(options: argparse.Namespace) -> int:
    """Show or write packets until COUNT, SECONDS, a signal, or the last worker's end."""
    from underpass.apps.runner import Stopping
    from underpass.observe import capture
    from underpass.observe.filter_expression import compile_filter

    expression = " ".join(options.filter)
    program = compile_filter(expression, options.snaplen)
    with ExitStack() as undo:
        captures = capture.start(undo, program, snaplen=options.snaplen, refused_only=options.refused,
                                 pid=options.pid, interface=options.interface)
        if not captures:
            raise Failure(nobody(options))
        sink: Sink = Lines(options.json)
        if options.file:
            file = sys.stdout.buffer if options.file == "-" else undo.enter_context(written(options.file))
            sink = Writer(file, expression, options.snaplen)
        stopping = undo.enter_context(Stopping())
        sink.begin(captures)
        log = Log(options.log_format)
        for it in captures:
            log(f"capturing on {it.interface} (worker {it.pid})", Event.CAPTURE_BEGAN, interface=it.interface,
                pid=it.pid)
        taken = follow(captures, sink, options.count or sys.maxsize,
                       time.monotonic() + (options.seconds or math.inf), stopping)
        sink.end(captures)
        summary(captures, taken, log)
    return 0


@contextmanager
def written(name: str) -> Iterator[IO[bytes]]:
    """The file, to be written. Raises OSError, which names it."""
    try:
        with open(name, "wb") as file:
            yield file
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        raise OSError(error.errno, error.strerror, name) from None


def nobody(options: argparse.Namespace) -> str:
    """Why there is nothing to capture."""
    meant = [f"process {options.pid}"] if options.pid else []
    meant += [f"interface {options.interface}"] if options.interface else []
    which = f" for {' and '.join(meant)}" if meant else ""
    return f"no worker of yours runs{which}; `underpass stats` lists those that run"


def follow(captures: "list[Capture]", sink: Sink, most: int, end: float, stopping: "Stopping") -> int:
    """Hand packets on; returns how many they were."""
    from underpass.observe import capture

    taken = 0
    while taken < most:
        if stopping.signals or time.monotonic() >= end:
            capture.stop(captures)          # what has come till now is still read
        over = all(it.over for it in captures)
        before = taken
        for octets, packets in capture.read(captures, most - taken):
            sink.blocks(octets)
            taken += packets
        if over and taken == before:
            break
    return taken


def summary(captures: "list[Capture]", taken: int, log: Log) -> None:
    """The counts, on stderr, as tcpdump has them."""
    counts = [it.reader.counts() for it in captures]
    passed, dropped = (sum(one[name] for one in counts) for name in ("passed", "dropped"))
    log(f"{taken} packets captured, {passed} passed, {dropped} dropped because this program was too slow",
        Event.CAPTURE_COUNTS, captured=taken, passed=passed, dropped=dropped)
    for it in captures:
        if it.ended:
            log(f"worker {it.pid} on {it.interface} ended", Event.CAPTURE_ENDED, interface=it.interface,
                pid=it.pid)


class Writer:
    """Blocks as they are, in a file of pcapng."""

    def __init__(self, file: IO[bytes], expression: str, snaplen: int) -> None:
        self._file, self._expression, self._snaplen = file, expression, snaplen

    def begin(self, captures: "list[Capture]") -> None:
        """What stands before the packets: the interfaces, with the filter."""
        from underpass.link.pcapng import interface_description, section_header

        self.blocks(section_header() + b"".join(
            interface_description(it.interface, self._snaplen, self._expression) for it in captures))

    def blocks(self, octets: bytes) -> None:
        """At once, for a reader that looks on."""
        self._file.write(octets)
        self._file.flush()

    def end(self, captures: "list[Capture]") -> None:
        """What stands behind them: the counts."""
        from underpass.link.pcapng import interface_statistics

        for number, it in enumerate(captures):
            counts = it.reader.counts()
            self.blocks(interface_statistics(number, time.time_ns(), counts["passed"], counts["matched"],
                                             counts["dropped"]))

class Lines:
    """A line for each packet, or a JSON object."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._names: list[str] = []

    def begin(self, captures: "list[Capture]") -> None:
        """The interfaces' names by number."""
        self._names = [it.interface for it in captures]

    def blocks(self, octets: bytes) -> None:
        """Print the packets of these blocks."""
        from underpass.observe.dissect import line, row
        from underpass.observe.pcapng_blocks import packets

        for packet in packets(octets):
            found = row(packet)
            name = self._names[packet.interface] if packet.interface < len(self._names) else "?"
            way = "out" if packet.is_sent else "in"
            reason = packet.comment.removeprefix("refused: ")
            if self._json:
                head = {"time_ns": packet.at_ns, "interface": name, "direction": way}
                print(json.dumps(head | {"refused": reason or None} | found))
            else:
                at = datetime.fromtimestamp(packet.at_ns // 10**9).strftime("%H:%M:%S")
                at += f".{packet.at_ns % 10**9 // 1000:06}"
                refused = f" (refused: {reason})" if reason else ""
                print(f"{at} {name} {way.capitalize():3} {line(found)}{refused}")
        sys.stdout.flush()

    def end(self, captures: "list[Capture]") -> None:
        """Nothing is said behind them."""
