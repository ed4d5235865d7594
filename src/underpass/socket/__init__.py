"""Blocking sockets on the stack, with the interface of the standard module's.

    with underpass.socket.attach("eth0") as net:
        with net.create_connection(("10.0.0.1", 80), timeout=5) as sock:
            sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            print(sock.makefile("rb").read())

An event loop in a thread of its own has the interface; sockets ask it, and wait. So peers are served while
the program computes, and any thread may use any socket. What goes by the stack is what goes by it with
asyncio; everything else is the kernel's.
"""

from underpass.socket.blocking import Socket
from underpass.socket.network import Network, attach

__all__ = ["Network", "Socket", "attach"]
