"""SYNs from everybody: a packet socket that sends them as fast as Python can, until it is ended.

Usage: flood.py INTERFACE SOURCE_MAC DESTINATION_MAC ADDRESS PORT [SYNS_A_SECOND]
"""

import random
import socket
import sys
import time

from underpass.testing.packets import Flags, TcpSegment

SOURCES = 20000
BURST = 50


def frames(macs: tuple[str, str], address: str, port: int) -> list[bytes]:
    """SYNs from sources that nobody has."""
    chance = random.Random(1)
    src_mac, dst_mac = macs
    rows = []
    for _ in range(SOURCES):
        number = chance.randrange(1 << 16, 1 << 17)
        src = f"198.19.{number >> 8 & 255}.{number & 255}"
        if ":" in address:
            src = f"2001:db8::{number & 65535:x}"
        rows.append(TcpSegment(src=src, dst=address, src_port=chance.randrange(1024, 65536), dst_port=port,
                               seq=chance.randrange(1 << 32), flags=Flags.SYN, mss=1460, sack_permitted=True,
                               timestamps=(chance.randrange(1 << 32), 0), window_scale=7, src_mac=src_mac,
                               dst_mac=dst_mac).build())
    return rows


def main(interface: str, macs: tuple[str, str], address: str, port: int, rate: float) -> None:
    rows = frames(macs, address, port)
    begun, sent = time.monotonic(), 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        print("flooding", flush=True)
        while True:
            for frame in rows:
                try:
                    out.send(frame)
                except OSError:                     # ENOBUFS: as fast as it goes
                    continue
                sent += 1
                if sent % BURST == 0 and rate:
                    time.sleep(max(0.0, begun + sent / rate - time.monotonic()))


if __name__ == "__main__":
    name, here, there, to, number, *most = sys.argv[1:]
    main(name, (here, there), to, int(number), float(most[0]) if most else 0.0)
