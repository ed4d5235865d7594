"""Serve a directory over Linux's sockets: `python -m underpass.apps.kernel_serve DIRECTORY ADDRESS PORT`."""

import sys
from contextlib import closing

from underpass.apps.kernel_http import KernelHttp
from underpass.apps.runner import Stopping


def main(directory: str, address: str, port: str) -> None:
    """Until SIGINT or SIGTERM."""
    with closing(KernelHttp(directory, address, int(port))) as server, Stopping() as stopping:
        while not stopping.signals:
            server.run(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
