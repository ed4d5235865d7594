"""`underpass ss`: the connections of running workers, in the manner of ss(8)."""

import argparse
from collections.abc import Mapping

from underpass.cli.common import add_json, check_worker, columns, duration, print_json

Row = Mapping[str, int | str]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--pid", type=int, help="only this worker's")
    parser.add_argument("-l", "--listening", action="store_true", help="only listeners")
    parser.add_argument("-t", "--time-wait", action="store_true", help="also what is in TIME-WAIT")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """List them."""
    from underpass.observe.workers import connections, discover

    check_worker(options.pid, (worker.pid for worker in discover()))
    rows = [row for row in connections(options.pid, options.time_wait)
            if not options.listening or row["state"] == "LISTEN"]
    if options.json:
        print_json(rows)
        return 0
    head = ("state", "unread", "unacked", "local", "remote", "rtt", "cwnd", "retrans", "pid")
    columns([head, *(cells(row) for row in rows)], right=(1, 2, 5, 6, 7, 8))
    return 0


def cells(row: Row) -> tuple[str, ...]:
    """One line's cells."""
    if row["state"] in ("LISTEN", "TIME-WAIT"):
        waiting = str(row.get("half_open", ""))
        return (str(row["state"]), waiting, "", endpoint(row, "local"), endpoint(row, "remote"), "", "", "",
                str(row["pid"]))
    unacked = int(row.get("flight_bytes", 0)) + int(row.get("unsent_bytes", 0))
    return (str(row["state"]), str(row.get("unread_bytes", 0)), str(unacked), endpoint(row, "local"),
            endpoint(row, "remote"), duration(int(row.get("rtt_us", 0)) * 1000),
            str(row.get("cwnd_bytes", "")), str(row.get("retransmits", 0)), str(row["pid"]))


def endpoint(row: Row, side: str) -> str:
    """Address and port; IPv6 in brackets."""
    if side not in row:
        return "*"
    address = str(row[side])
    return f"[{address}]:{row[f'{side}_port']}" if ":" in address else f"{address}:{row[f'{side}_port']}"
