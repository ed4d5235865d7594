"""SYN cookies in the XDP program, and known flows before new ones: what is wanted, and what carries it out.

    AdmissionPlan --> features and sizes of the XdpProgram
    Admission     --> its configuration, with the stack's secrets; the table of flows that it looks them up in
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from underpass.linux.netdev_features import NetdevFeatures
from underpass.stack.stack import admission_keys, checked_limits
from underpass.tcp.flows import FlowTable
from underpass.xdp.admission_maps import FLOWS_IN_A_BUCKET, SYN_COOKIES, AdmissionMaps
from underpass.xdp.loader import XdpProgram

SYN_RATE = 20_000
HOLD_S = 10.0
FLOWS = 1 << 18
SLOT_BYTES = 8
SOURCES_SHARE = 4                       # a bucket of sources behind so many of flows
LEAST_BUCKETS = 8
HEADERS = {4: 40, 6: 60}                # octets of IP and TCP headers without options
WINDOW_MAX = 65535                      # of a SYN, which is never scaled (RFC 7323 2.2)
SCALE_MAX = 14


@dataclasses.dataclass(frozen=True, slots=True)
class AdmissionPlan:
    """What the XDP program decides about segments to claimed ports.

    `syn_cookies`: who answers SYNs under a flood, the program ("auto": from `syn_rate` SYNs a second on, or
    while half the room for half-open connections is taken, until `hold_s` seconds after; "always") or the
    stack ("off"). `overload`: the program refuses what is new while a worker is overloaded. For both it looks
    flows up in a table that has room for `flows` connections and TIME_WAIT entries. Raises ValueError.
    """

    syn_cookies: str = "off"
    overload: bool = False
    syn_rate: int = SYN_RATE
    hold_s: float = HOLD_S
    flows: int = FLOWS

    def __post_init__(self) -> None:
        if self.syn_cookies not in SYN_COOKIES:
            raise ValueError(f"SYN cookies are {', '.join(SYN_COOKIES)}, not {self.syn_cookies!r}")
        if not 1 <= self.syn_rate <= 10**9:
            raise ValueError(f"a rate of SYNs lies between 1 and 1000000000 a second, not {self.syn_rate}")
        if not 0.2 <= self.hold_s <= 86400:
            raise ValueError(f"cookies hold for 0.2 to 86400 s, not {self.hold_s:g}")
        if not 1 <= self.flows <= 1 << 26:
            raise ValueError(f"the program looks up 1 to {1 << 26} flows, not {self.flows}")

    @property
    def features(self) -> frozenset[str]:
        """Of the XDP program; without any, this costs nothing."""
        wanted = {"cookies": self.syn_cookies != "off", "flows": self.overload}
        return frozenset(name for name, is_wanted in wanted.items() if is_wanted)

    @property
    def sizes(self) -> dict[str, int]:
        """Of its maps."""
        buckets = buckets_for(self.flows)
        tags = buckets // FLOWS_IN_A_BUCKET
        return {"flows": buckets + tags + buckets // SOURCES_SHARE} if self.features else {}

    def without(self, refused: Iterable[str]) -> "AdmissionPlan":
        """The same, without features of the XDP program that the kernel refuses."""
        none = frozenset(refused)
        return dataclasses.replace(self, syn_cookies="off" if "cookies" in none else self.syn_cookies,
                                   overload=self.overload and "flows" not in none)

    def with_room(self, flows: int) -> "AdmissionPlan":
        """The same, with room for so many flows at least."""
        return dataclasses.replace(self, flows=max(self.flows, flows))


LET_ALL_IN = AdmissionPlan()            # the program decides nothing


def buckets_for(flows: int) -> int:
    """How many buckets, a power of two, hold so many flows in half of their slots."""
    buckets = LEAST_BUCKETS
    while buckets * FLOWS_IN_A_BUCKET < 2 * flows:
        buckets *= 2
    return buckets


def flows_of(limits: Mapping[str, int | str]) -> int:
    """How many flows a stack with these limits may have."""
    merged = checked_limits(dict(limits))
    return merged["connections"] + merged["time_waits"]


class Admission:
    """Carries a plan out on a program that was loaded with its features and sizes.

    `seed` and `limits` are the stack's. Raises OSError.
    """

    def __init__(self, plan: AdmissionPlan, netdev: NetdevFeatures, program: XdpProgram, *, seed: bytes,
                 limits: Mapping[str, int | str]) -> None:
        flows = program.map("flows")
        octets = flows.max_entries * FLOWS_IN_A_BUCKET * SLOT_BYTES  # as it is there, where it was adopted
        self.plan = plan
        self.table = FlowTable(memfd=flows.fd, bytes=octets)
        flows.close()
        self._maps = AdmissionMaps(program)
        self._maps.set_keys(admission_keys(seed), buckets=self.table.buckets,
                            source_buckets=self.table.source_buckets, clock_offset_ns=clock_offset_ns())
        self._limits = checked_limits(dict(limits))
        self._partial_checksums = netdev.partial_checksums
        self._answer(netdev.mtu)
        self._maps.set_cookies(plan.syn_cookies, syn_rate=plan.syn_rate, hold_s=plan.hold_s)

    @property
    def gate_fds(self) -> tuple[int, int]:
        """What a worker's `GateMemory` is made of."""
        return self._maps.fds

    def set_mtu(self, mtu: int) -> None:
        """SYN-ACKs announce what fits the interface."""
        self._answer(mtu)
        self._maps.write()

    def state(self) -> dict[str, Any]:
        """What is in force now."""
        return self._maps.state()

    def _answer(self, mtu: int) -> None:
        """As a listener with the stack's defaults would answer."""
        limits = self._limits
        mss = {family: min(mtu - headers, limits["mss"]) for family, headers in HEADERS.items()}
        dctcp = checked_limits({"congestion": "dctcp"})["congestion"]
        self._maps.set_answer(
            mss_v4=mss[4], mss_v6=mss[6],
            window=min(limits["rcv_initial_bytes"], limits["rcv_bytes"], WINDOW_MAX),
            window_scale=scale_for(limits["rcv_bytes"]),
            ecn=limits["ecn"] != 0 or limits["congestion"] == dctcp,
            partial_checksums=self._partial_checksums)


def let_all_in(program: XdpProgram) -> None:
    """Have a program that has the code for it decide nothing any more."""
    if program.features & {"cookies", "flows"}:
        AdmissionMaps(program).set_cookies("off")


def scale_for(octets: int) -> int:
    """The smallest shift that lets a window of so many octets be advertised."""
    return next((shift for shift in range(SCALE_MAX) if WINDOW_MAX << shift >= octets), SCALE_MAX)


def clock_offset_ns() -> int:
    """What this process's monotonic clock is ahead of the kernel's own: 0 but in a time namespace."""
    try:
        lines = Path("/proc/self/timens_offsets").read_text().splitlines()
    except FileNotFoundError:                   # a kernel without time namespaces
        return 0
    for line in lines:
        name, seconds, nanoseconds = line.split()
        if name == "monotonic":
            return (int(seconds) * 10**9 + int(nanoseconds)) % 2**64
    return 0
