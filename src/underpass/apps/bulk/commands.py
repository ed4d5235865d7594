"""The commands that a bulk host takes on stdin, one JSON object a line, and answers on stdout."""

import json
import sys
from collections.abc import Callable


def carry_out(host: object, wait: Callable[[], object]) -> None:
    """Until the end of stdin: `wait` lets the host work, and is true when a command can be read."""
    print("{}", flush=True)
    while True:
        if not wait():
            continue
        line = sys.stdin.readline()
        if not line:
            return
        (name, arguments), = json.loads(line).items()
        print(json.dumps(getattr(host, name)(**arguments)), flush=True)
