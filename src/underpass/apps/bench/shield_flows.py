"""Test runs in which the XDP program decides about segments: by SYN cookies, and by a flow of a worker's."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from underpass.apps.bench.shield_frames import CLIENT_MAC, FROM_PORT, FROM_V4, MAC, PORT, TO_V4
from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.linux.admission import SLOT_BYTES, AdmissionPlan
from underpass.stack.stack import Stack, admission_keys
from underpass.tcp.flows import FlowTable
from underpass.xdp.admission_maps import FLOWS_IN_A_BUCKET, AdmissionMaps
from underpass.xdp.steer_object import SteerObject

PLAN = AdmissionPlan("auto", overload=True)
KEYS = b"the same in both" * 2
HANDSHAKE_TURNS = 8


@contextmanager
def admission(program: SteerObject, cookies: str) -> Iterator[None]:
    """Have it answer SYNs by cookies, "always" or "auto", and know the flow of `shield_frames.tcp_v4`."""
    with closing(program.map("flows")) as flows:
        table = FlowTable(memfd=flows.fd, bytes=flows.max_entries * FLOWS_IN_A_BUCKET * SLOT_BYTES)
        maps = AdmissionMaps(program)
        maps.set_keys(admission_keys(KEYS), buckets=table.buckets, source_buckets=table.source_buckets)
        maps.set_answer(mss_v4=1460, mss_v6=1440, window=65535, window_scale=7, ecn=False,
                        partial_checksums=False)
        maps.set_cookies(cookies)
        here, there = memory_pair(Frames(512), Frames(512))
        with closing(stack(here, MAC, TO_V4)) as server, closing(stack(there, CLIENT_MAC, FROM_V4)) as client:
            server.set_neighbour(FROM_V4, CLIENT_MAC)
            client.set_neighbour(TO_V4, MAC)
            server.show_flows(table)
            server.listen((TO_V4, PORT))
            client.connect((TO_V4, PORT), (FROM_V4, FROM_PORT))
            for _ in range(HANDSHAKE_TURNS):
                client.step(time.monotonic_ns())
                server.step(time.monotonic_ns())
            yield


def stack(link: object, mac: bytes, address: str) -> Stack:
    """One end of the connection; everybody is a neighbour."""
    made = Stack(link, mac, seed=KEYS, connections=256, time_waits=64)    # type: ignore[arg-type]
    made.set_addresses([(address, 24)])
    made.set_routes([("0.0.0.0", 0, None, None, 0, 0)])
    return made
