"""Serve primes: `python -m underpass.apps.primes.server INTERFACE ADDRESS IO ARRANGEMENT`.

IO is afxdp, busy-poll, dpdk or kernel, ARRANGEMENT one (run to completion) or two (threads).
"""

import sys
from contextlib import closing

import underpass
from underpass.apps.primes.kernel_primes import KernelPrimes
from underpass.apps.primes.primes import PrimesServer
from underpass.apps.runner import Stopping

PORT = 80


def over_kernel(address: str) -> None:
    """The same over Linux's sockets, in one thread."""
    with closing(KernelPrimes(address, PORT)) as server, Stopping() as stopping:
        print("path: kernel TCP", f"serving primes on port {PORT}", sep="\n", flush=True)
        while not stopping.signals:
            server.run(1.0)


def main(interface: str, address: str, io: str, arrangement: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    if io == "kernel":
        over_kernel(address)
        return
    with underpass.attach(interface, "native", io="dpdk" if io == "dpdk" else "afxdp",
                          busy_poll=io == "busy-poll") as nic, Stopping() as stopping:
        stack = nic.stack()
        server = PrimesServer(stack, address, PORT, threads=arrangement == "two")
        print(f"path: {nic.summary()[0]}", f"serving primes on port {PORT}", sep="\n", flush=True)
        while not stopping.signals:
            if stack.run(1.0, (server.wake_fd,)):
                server.woken()
        server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
