"""An HTTP server that says hello, on the user-space stack: requests may be pipelined, connections stay open.

Usage, as root: python http_hello.py INTERFACE ADDRESS PORT
"""

import contextlib
import sys

import underpass

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
LONGEST_REQUEST = 16384


def answer(conn: underpass.Connection) -> None:
    """Say hello for each request that is complete; `conn.data` is the beginning of the next one."""
    try:
        while data := conn.recv():
            *requests, conn.data = ((conn.data or b"") + data).split(b"\r\n\r\n")
            hellos = HELLO * len(requests)
            if len(conn.data) > LONGEST_REQUEST or (hellos and conn.send(hellos) < len(hellos)):
                conn.abort()            # it asks for ever, or does not read the answers
                return
        conn.close()
    except BlockingIOError:
        pass
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
                answer(conn)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
