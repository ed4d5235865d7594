"""An echo server on the user-space stack: what a client sends comes back.

Usage, as root: python echo.py INTERFACE ADDRESS PORT
"""

import contextlib
import sys

import underpass


def echo(conn: underpass.Connection) -> None:
    """Send back what has come, as far as there is room; `conn.data` is what had none."""
    try:
        while data := conn.data or conn.recv():
            conn.data = data[conn.send(data):]
        conn.close()
    except BlockingIOError:
        pass                            # nothing to read, or no room: an event will tell
    except ConnectionError:
        conn.close()


def main(interface: str, address: str, port: str) -> None:
    """Serve until Ctrl-C."""
    with underpass.attach(interface) as nic:
        stack = nic.stack()
        stack.listen((address, int(port)))
        print(*nic.summary(), sep="\n", flush=True)
        while True:
            for conn, _ in stack.poll(timeout=1.0):
                echo(conn)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
