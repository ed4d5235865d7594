"""Serve a directory over Linux's sockets.

    python -m underpass.apps.kernel_serve DIRECTORY ADDRESS PORT [CORE ...]

One process, or one on each of the cores, between which Linux spreads connections (SO_REUSEPORT).
"""

import os
import subprocess
import sys
from contextlib import ExitStack, closing

from underpass.apps.kernel_http import KernelHttp
from underpass.apps.runner import Stopping


def main(directory: str, address: str, port: str, *cores: str) -> None:
    """Until SIGINT or SIGTERM."""
    with ExitStack() as undo:
        for core in cores[1:]:
            words = [sys.executable, "-m", __spec__.name, directory, address, port, core]
            other = undo.enter_context(subprocess.Popen(words))
            undo.callback(other.terminate)
        if cores:
            os.sched_setaffinity(0, {int(cores[0])})
        server = undo.enter_context(closing(KernelHttp(directory, address, int(port))))
        stopping = undo.enter_context(Stopping())
        while not stopping.signals:
            server.run(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
