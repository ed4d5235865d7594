"""A policy as the XDP program reads it: `struct policy` of xdp/contract.h, filled in from what `policy.py` says."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import os
from collections import Counter
from itertools import product

from underpass.xdp.contract cimport *

POLICY_BYTES = sizeof(policy)
SOURCES_IN_A_SET = SOURCE_WAYS
RULES, RULES_OF_SECTION, TEXT_BYTES = RULES_MAX, SCOPE_RULES_MAX, POLICY_TEXT_MAX
BOGONS_LIST = LIST_BOGONS
REASONS, SECTIONS = REASONS_MAX, SCOPES_MAX
TALLY_PLACES = {"rules": TALLY_RULES, "lists": TALLY_LISTS, "dropped": TALLY_DROPPED, "would": TALLY_WOULD_DROP,
                "end": TALLIES_MAX}

ORDERS = {"allow": ORDER_ALLOW, "deny": ORDER_DENY, "rules": ORDER_RULES}
ACTIONS = {"pass": ACTION_PASS, "drop": ACTION_DROP, "count": ACTION_COUNT}
TCP = 6
SECOND = 256 * 1_000_000_000
LARGEST = 1522                  # octets of a frame
ANY_NETWORK, ANY_PORTS = (None,), (None,)


cdef bytes octets_of(address):
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


cdef bytes mask_octets(network):
    """Of 128 bits, those that count; IPv4 lies behind 96 that always do."""
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    return ((1 << 128) - (1 << (128 - bits))).to_bytes(16, "big")


cdef void copy(u64 *into, bytes octets):
    memcpy(into, <const char *>octets, 16)


def rules_of(policy_):
    """All rules once, in the order of their numbers: what a section has from another one is the same rule."""
    return list(dict.fromkeys([rule for section in policy_.sections() for rule in section.rules]))


cdef set versions_of(rule_, source, to):
    """Of IP, which a packet must have that fits; more than one: none fits."""
    return {it.version for it in (source, to) if it is not None} | ({rule_.version} - {None})


cdef list combinations(rule_):
    """Each (source, destination, port of the source, port) of a rule that a packet can have; None is any."""
    return [it for it in product(rule_.sources or ANY_NETWORK, rule_.destinations or ANY_NETWORK,
                                 rule_.source_ports or ANY_PORTS, rule_.ports or ANY_PORTS)
            if len(versions_of(rule_, it[0], it[1])) <= 1]


cdef object counted(networks):
    """How many there are by version of IP; one of any where none is named."""
    return Counter([it.version for it in networks]) if networks else {None: 1}


cdef object places_of(rule_):
    """How many combinations those are, without making them: there may be any number."""
    pairs = sum([many * more for source, many in counted(rule_.sources).items()
                 for to, more in counted(rule_.destinations).items() if len({source, to, rule_.version} - {None}) <= 1])
    return pairs * max(len(rule_.source_ports), 1) * max(len(rule_.ports), 1)


cdef class PolicyImage:
    """The octets of one generation. Raises ValueError for rules that need more places than there are."""
    cdef bytearray _octets
    cdef policy *at
    cdef uint32_t _rules            # places that are taken
    cdef dict _list_bits

    def __init__(self, policy_, classes, chosen_ports):
        self._octets = bytearray(sizeof(policy))
        self.at = <policy *><char *>self._octets
        self._list_bits = {it.name: <uint64_t>1 << place for place, it in enumerate(policy_.lists)}
        numbers = {rule: number for number, rule in enumerate(rules_of(policy_))}
        for place, mask in enumerate(classes):
            self.at.classes[place] = mask
        copy(self.at.seeds, os.urandom(16))
        self._set_detection(policy_.detection)
        for number, section in enumerate(policy_.sections()):
            self._set_section(number, section, numbers, chosen_ports, number > 0 or policy_.interface is not None)
        self._set_ports(policy_)

    def __bytes__(self):
        return bytes(self._octets)

    cdef uint64_t _bits(self, names) except? 0:
        cdef uint64_t bits = 0
        for name in names:
            bits |= <uint64_t>self._list_bits[name]
        return bits

    cdef _set_section(self, uint32_t number, section, dict numbers, chosen_ports, bint active):
        cdef scope *into = &self.at.scopes[number]
        into.allow, into.deny = self._bits(section.allow), self._bits(section.deny)
        for protocol in section.drop:
            into.protocols[protocol >> 6] |= <uint64_t>1 << (protocol & 63)
        for vlan in section.vlans or ():
            into.vlans[vlan >> 6] |= <uint64_t>1 << (vlan & 63)
        for place, word in enumerate(section.order):
            into.order[place] = ORDERS[word]
        into.chosen_first, into.chosen_last = chosen_ports
        for rate_ in section.rates:
            if rate_.of_packets:
                fill_rate(&into.rates[into.rate_count], rate_)
                into.rate_count += 1
            if rate_.of_connections:
                fill_begin_rate(&into.begins[into.begin_count], rate_)
                into.begin_count += 1
        self._set_rules(into, section, numbers)
        into.checks = checks_of(section) | (CHECK_ACTIVE if active else 0)

    cdef _set_detection(self, detection_):
        if detection_ is not None:
            self.at.detection.packets = detection_.packets
            self.at.detection.block_ns = int(detection_.block_s * 1e9)
            self.at.detection.v4_length, self.at.detection.v6_length = detection_.v4, detection_.v6
            self.at.detection.dry_run = detection_.dry_run

    cdef _set_rules(self, scope *into, section, dict numbers):
        """A place for each combination of what a rule asks."""
        into.rule_first = self._rules
        places = sum([places_of(rule_) for rule_ in section.rules])
        if places > SCOPE_RULES_MAX:
            raise ValueError(f"the rules of {section.name} need {places} places, more than {SCOPE_RULES_MAX}: one "
                             "for each pair of networks and ports; put networks into a list, and name it in from-lists")
        if self._rules + places > RULES_MAX:
            raise ValueError(f"the rules need more than {RULES_MAX} places, those of {section.name} and of sections before it: "
                             "one for each pair of networks and ports, and in each section that inherits them; put networks "
                             "into a list, and name it in from-lists")
        for rule_ in section.rules:
            for combination in combinations(rule_):
                self._fill(&self.at.rules[self._rules], rule_, combination)
                self.at.rules[self._rules].number = numbers[rule_]
                self._rules += 1
        into.rule_count = places

    cdef _fill(self, rule *into, rule_, tuple combination):
        cdef uint32_t asks = 0
        source, to, from_port, to_port = combination
        versions = versions_of(rule_, source, to)
        into.action = ACTIONS[rule_.action]
        if versions:
            asks |= ASKS_VERSION
            (into.version,) = versions
        if rule_.protocol is not None:
            asks |= ASKS_PROTOCOL
            into.protocol = rule_.protocol
        if source is not None:
            asks |= ASKS_FROM
            copy(into.source, octets_of(source.network_address))
            copy(into.source_mask, mask_octets(source))
        if to is not None:
            asks |= ASKS_TO
            copy(into.to, octets_of(to.network_address))
            copy(into.to_mask, mask_octets(to))
        if rule_.source_lists:
            asks |= ASKS_LISTS
            into.lists = self._bits(rule_.source_lists)
        if from_port is not None:
            asks |= ASKS_FROM_PORT
            into.from_port[0], into.from_port[1] = from_port
        if to_port is not None:
            asks |= ASKS_TO_PORT
            into.to_port[0], into.to_port[1] = to_port
        if rule_.vlan is not None:
            asks |= ASKS_VLAN
            into.vlan = rule_.vlan
        if rule_.flags is not None:
            asks |= ASKS_FLAGS
            into.flags_mask, into.flags = rule_.flags
        into.asks = asks

    cdef _set_ports(self, policy_):
        """What is open and closed, and which section a service on a port has."""
        interface = policy_.interface
        for number in range(65536):
            self.at.ports[number].scope = 1
        if interface is not None:
            self._flag(interface.udp_ports, PORT_UDP_OPEN)
            self._flag(interface.tcp_ports or (), PORT_TCP_OPEN)
            self._flag(interface.closed_udp_ports, PORT_UDP_CLOSED)
            self._flag(interface.closed_tcp_ports, PORT_TCP_CLOSED)
        for number, service in enumerate(policy_.service, 2):
            if service.address is None:
                self.at.ports[service.port].scope = number
            else:
                self.at.ports[service.port].flags |= PORT_BY_ADDRESS

    cdef _flag(self, ranges, uint32_t flag):
        for first, last in ranges:
            for number in range(first, last + 1):
                self.at.ports[number].flags |= flag


cdef fill_rate(rate *into, rate_):
    """Times in units of 1/256 ns; whatever the burst, one packet of Ethernet's size may come."""
    at_once = []
    for what, a_second, least in ((RATED_PACKETS, rate_.packets, 1), (RATED_SYNS, rate_.syns, 1),
                                  (RATED_OCTETS, rate_.octets, LARGEST)):
        if a_second is not None:
            step = max(1, (SECOND << 16) // a_second)
            into.step[what] = step
            at_once.append(step * least >> 16)
    into.burst = max(int(rate_.burst * SECOND), *at_once)
    into.of_service = rate_.per == "service"
    into.v4_length, into.v6_length = rate_.v4, rate_.v6


cdef fill_begin_rate(begin_rate *into, rate_):
    """Whatever the burst, one may be begun."""
    if rate_.new is not None:
        into.step = max(1, (SECOND << 16) // rate_.new)
        into.burst = max(int(rate_.burst * SECOND), into.step >> 16)
    into.most = rate_.connections or 0
    into.of_service = rate_.per == "service"
    into.v4_length, into.v6_length = rate_.v4, rate_.v6


cdef uint32_t checks_of(section) except? 0:
    """The bits of enum check."""
    wanted = (
        (section.dry_run, CHECK_DRY_RUN), (section.tcp_flags, CHECK_FLAGS), (section.lengths, CHECK_LENGTHS),
        (section.checksums, CHECK_CHECKSUMS), (section.bogons != "off", CHECK_MARTIANS),
        (section.bogons == "all", CHECK_BOGONS), (section.fragments == "first", CHECK_LATER_FRAGMENTS),
        (section.fragments == "drop", CHECK_FRAGMENTS), (section.vlans is not None, CHECK_VLANS),
        (section.drop, CHECK_PROTOCOLS), (section.udp_replies, CHECK_UDP_REPLIES),
        (section.tcp_ports is not None, CHECK_TCP_PORTS), (section.default == "drop", CHECK_DEFAULT_DROP))
    return sum([bit for is_wanted, bit in wanted if is_wanted])


def service_key(address, port_, uint32_t generation):
    """The key in the map `services` of a service that has an address."""
    return octets_of(address) + port_.to_bytes(2, "big") + bytes([TCP, generation])


# ---- single entries of small maps

def state_octets(active, loaded, v4_lengths, v6_lengths, has_blocks):
    """struct shield_state."""
    cdef shield_state state
    cdef bytes lengths
    memset(&state, 0, sizeof(state))
    state.active, state.loaded = active, loaded
    lengths = bytes([it + 1 for it in v4_lengths]).ljust(BLOCK_LENGTHS_MAX, b"\0")
    memcpy(state.v4_lengths, <const char *>lengths, BLOCK_LENGTHS_MAX)
    lengths = bytes([it + 1 for it in v6_lengths]).ljust(BLOCK_LENGTHS_MAX, b"\0")
    memcpy(state.v6_lengths, <const char *>lengths, BLOCK_LENGTHS_MAX)
    state.has_blocks = has_blocks
    return (<char *>&state)[: sizeof(state)]


def state_fields(bytes octets not None):
    """active, loaded, lengths of IPv4 blocks, of IPv6 blocks, has_blocks."""
    cdef shield_state state
    if len(octets) != sizeof(state):
        raise ValueError(f"the state has {sizeof(state)} octets, not {len(octets)}")
    memcpy(&state, <const char *>octets, sizeof(state))
    return (state.active, state.loaded, [it - 1 for it in state.v4_lengths if it], [it - 1 for it in state.v6_lengths if it],
            state.has_blocks)


def block_key_octets(network):
    """struct block_key."""
    cdef block_key key
    cdef bytes octets = octets_of(network.network_address)
    memset(&key, 0, sizeof(key))
    memcpy(key.address, <const char *>octets, 16)
    key.length = network.prefixlen
    return (<char *>&key)[: sizeof(key)]


def block_octets(uint64_t since_ns, uint64_t until_ns, kind):
    """struct block; `kind` is "block", "heavy" or "allow"."""
    cdef block one
    memset(&one, 0, sizeof(one))
    one.since_ns, one.until_ns, one.kind = since_ns, until_ns, KINDS[kind]
    return (<char *>&one)[: sizeof(one)]


def block_fields(bytes octets not None):
    """since_ns, until_ns, packets, kind."""
    cdef block one
    if len(octets) != sizeof(one):
        raise ValueError(f"a block has {sizeof(one)} octets, not {len(octets)}")
    memcpy(&one, <const char *>octets, sizeof(one))
    return one.since_ns, one.until_ns, one.packets, NAMES_OF_KINDS.get(one.kind, "block")


def heavy_fields(bytes octets not None):
    """window, packets in it, packets in all, first_ns, port, protocol, flags."""
    cdef heavy one
    if len(octets) != sizeof(one):
        raise ValueError(f"a heavy source has {sizeof(one)} octets, not {len(octets)}")
    memcpy(&one, <const char *>octets, sizeof(one))
    return one.window, one.packets, one.total, one.first_ns, one.port, one.protocol, one.flags


def detector_octets(int64_t room, uint64_t blocked=0, uint64_t would_block=0, uint64_t refused=0):
    """struct detector."""
    cdef detector one
    one.room, one.blocked, one.would_block, one.refused = room, blocked, would_block, refused
    return (<char *>&one)[: sizeof(one)]


def detector_fields(bytes octets not None):
    """room, blocked, would_block, refused."""
    cdef detector one
    if len(octets) != sizeof(one):
        raise ValueError(f"the detector has {sizeof(one)} octets, not {len(octets)}")
    memcpy(&one, <const char *>octets, sizeof(one))
    return one.room, one.blocked, one.would_block, one.refused


WINDOW = WINDOW_BITS
KINDS = {"block": BLOCK_BY_HAND, "heavy": BLOCK_HEAVY, "allow": ALLOW_BY_HAND}
NAMES_OF_KINDS = {number: name for name, number in KINDS.items()}
BLOCKS, LENGTHS = BLOCKS_MAX, BLOCK_LENGTHS_MAX
