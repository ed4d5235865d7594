"""In the guest: does what the host asks for over a serial line, a line of JSON for each question and answer.

A question names a function of `bench`; the answer has what it returned, or the exception that it raised.

Usage: agent.py SERIAL_LINE
"""

import json
import sys
import traceback
import tty
from typing import IO

from tests.drivers.guest import bench


def answer(question: dict[str, object]) -> dict[str, object]:
    """Call one function."""
    try:
        return {"value": getattr(bench, str(question["call"]))(**question["with"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def serve(line: IO[bytes]) -> None:
    """Until the host has no more questions."""
    line.write(b'{"value": "ready"}\n')
    while question := line.readline():
        line.write(json.dumps(answer(json.loads(question))).encode() + b"\n")


if __name__ == "__main__":
    with open(sys.argv[1], "r+b", buffering=0) as opened:
        tty.setraw(opened)
        serve(opened)
