"""Flood, or drop, until SIGTERM.

    python -m underpass.apps.flood.process send INTERFACE FRAME PACKETS_PER_S
    python -m underpass.apps.flood.process drop INTERFACE

Or have the server on an interface drop what comes from the router of the bench's floods first of all
(apps/bench/floods.py), and end:

    python -m underpass.apps.flood.process drop-first INTERFACE

FRAME is in hexadecimal digits; 0 packets/s: as many as the kernel can.
"""

import socket
import sys
import time
from contextlib import closing

from underpass.apps.flood.flood import BareDrop, Flood
from underpass.apps.runner import Stopping
from underpass.xdp.attachment import Attachment

FIRST, SOURCES = "32.0.0.0", 1 << 28    # a sixteenth of all addresses, none of them ours


def main(what: str, interface: str, frame: str = "", rate: str = "0") -> None:
    """Say that it is ready, then do it."""
    ifindex = socket.if_nametoindex(interface)
    if what == "drop-first":
        with Attachment(ifindex) as attachment:
            attachment.switch(attachment.features, measured="bare_drop")
        return
    one = (Flood(bytes.fromhex(frame), ifindex, FIRST, SOURCES, float(rate)) if what == "send"
           else BareDrop(ifindex))
    with closing(one), Stopping() as stopping:
        print("ready", flush=True)
        while not stopping.signals:
            if isinstance(one, Flood):
                one.send()
            else:
                time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
