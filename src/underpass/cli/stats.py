"""`underpass stats`: the counters of running workers, by layer and reason."""

import argparse

from underpass.cli.common import add_json, check_worker, columns, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--pid", type=int, help="only this worker's")
    parser.add_argument("-a", "--all", action="store_true", help="also the counters that are zero")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show them; those that are zero only on demand. As JSON, all of them."""
    from underpass.observe.workers import stats, workers

    there = workers()
    check_worker(options.pid, (int(worker["pid"]) for worker in there))
    rows = stats(options.pid)
    if options.json:
        print_json({"workers": there, "counters": rows})
        return 0
    if not there:
        print("no worker is running")
    for worker in there:
        if options.pid in (None, worker["pid"]):
            print(f"{worker['pid']}  {worker.get('interface', '')}  {worker['command']}")
            columns([(str(row["layer"]), str(row["name"]), f"{row['value']:,}") for row in rows
                     if row["pid"] == worker["pid"] and (options.all or row["value"])], right=(2,))
    return 0
