"""What a protection policy says, whoever wrote it: sections, lists, rules, rates.

Each packet comes under one section: that of its service, else `services` where its port is claimed, else
`interface`, which is everything that Linux gets. Sections that are not there filter nothing.
"""

import ipaddress
from dataclasses import dataclass, field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Ports = tuple[int, int]                 # first and last

ORDER = ("allow", "deny", "rules")
FRAGMENTS = ("pass", "first", "drop")
BOGONS = ("off", "martians", "all")
ACTIONS = ("pass", "drop", "count")
LIST_ACTIONS = ("deny", "allow", "none")
PROTOCOLS = {"icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
             "icmpv6": 58, "ospf": 89, "sctp": 132, "udplite": 136}
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}

# RFC 1122 3.2.1.3, RFC 6890, RFC 4291 2.5: no packet that comes in has its source there.
MARTIANS = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/128", "::1/128", "::ffff:0.0.0.0/96", "ff00::/8")
# RFC 6890, RFC 5737, RFC 3849, RFC 9637, RFC 6666: none that comes by the internet has.
BOGON_NETWORKS = (
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "64:ff9b:1::/48", "100::/64",
    "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10")


@dataclass(frozen=True, slots=True)
class PrefixList:
    """A named list: what stands in the policy, and what a file has. `action`: what sections do with it."""

    name: str
    action: str = "deny"
    prefixes: tuple[Network, ...] = ()
    file: str | None = None             # an absolute path
    line: int | None = field(default=None, compare=False)   # of the policy, that names it


@dataclass(frozen=True, slots=True)
class Rule:
    """What it asks (None or (): any), and what becomes of a packet that fits."""

    name: str
    action: str
    protocol: int | None = None
    version: int | None = None          # of IP
    sources: tuple[Network, ...] = ()
    source_lists: tuple[str, ...] = ()
    destinations: tuple[Network, ...] = ()
    source_ports: tuple[Ports, ...] = ()
    ports: tuple[Ports, ...] = ()
    vlan: int | None = None             # 0: untagged
    flags: tuple[int, int] | None = None    # of TCP: those that are looked at, and those of them that are set


@dataclass(frozen=True, slots=True)
class Rate:
    """What a source, or all of them together, may send to a section in a second, and how many connections a
    source may have with the stack; None: as much as it likes.

    A source is a prefix of so many bits.
    """

    per: str                            # "source" or "service"
    v4: int = 32
    v6: int = 64
    packets: int | None = None
    syns: int | None = None
    octets: int | None = None
    new: int | None = None              # connections that are begun
    connections: int | None = None      # at a time
    burst: float = 1.0                  # seconds that may be saved up

    @property
    def of_packets(self) -> bool:
        """Whether packets are looked at, each by itself."""
        return (self.packets, self.syns, self.octets) != (None, None, None)

    @property
    def of_connections(self) -> bool:
        """Whether what begins a connection is looked at."""
        return (self.new, self.connections) != (None, None)


@dataclass(frozen=True, slots=True)
class Section:
    """What is done with the packets of one section. `allow` and `deny` are names of lists."""

    name: str
    order: tuple[str, ...] = ORDER
    default: str = "pass"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    rates: tuple[Rate, ...] = ()
    bogons: str = "martians"
    tcp_flags: bool = True
    lengths: bool = True
    checksums: bool = False
    fragments: str = "pass"
    vlans: tuple[int, ...] | None = None
    dry_run: bool = False
    drop: tuple[int, ...] = ()          # protocols
    udp_ports: tuple[Ports, ...] = ()   # that are open all the same
    udp_replies: bool = True
    tcp_ports: tuple[Ports, ...] | None = None      # that connections may be opened to; None: any
    closed_tcp_ports: tuple[Ports, ...] = ()
    closed_udp_ports: tuple[Ports, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A claimed port with a section of its own; `address` None: on every address."""

    port: int
    address: Address | None
    section: Section


@dataclass(frozen=True, slots=True)
class Detection:
    """Sources that send more than `packets` a second are heavy; with `block_s` they are blocked so long."""

    packets: int
    block_s: float = 0.0
    blocks: int = 1000                  # so many at a time at the most
    v4: int = 32
    v6: int = 64
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it. `interface` None: Linux's own traffic is left alone."""

    lists: tuple[PrefixList, ...] = ()
    interface: Section | None = None
    services: Section = field(default_factory=lambda: Section("services"))
    service: tuple[Service, ...] = ()
    detection: Detection | None = None
    sources: int = 65536                # that rates are kept for at a time
    samples: bool = False               # of what is dropped
    text: str = ""                      # as it was written
    folder: str = "/"                   # that its files are relative to
    file: str = field(default="policy", compare=False)      # that it was read from

    def counted(self) -> list[tuple[int, int]]:
        """For which lengths of prefixes, of IPv4 and of IPv6, connections are counted."""
        rates = [rate for section in self.sections() for rate in section.rates]
        return list(dict.fromkeys((it.v4, it.v6) for it in rates if it.connections is not None))

    def sections(self) -> list[Section]:
        """All sections in the order of their numbers."""
        return [self.interface or Section("interface"), self.services, *(it.section for it in self.service)]
