"""What names a network namespace: the kernel's cookie for it (Linux 5.14), which it gives once. The inode of
/proc/PID/ns/net goes to a later namespace when this one is gone.
"""

import socket
import struct

SO_NETNS_COOKIE = 71                    # include/uapi/asm-generic/socket.h


def namespace_cookie() -> int:
    """Of the network namespace that the thread is in. Raises OSError where there can be no socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        return int(struct.unpack("=Q", any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0])
