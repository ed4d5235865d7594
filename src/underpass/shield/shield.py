"""The shield of one interface: its policy, blocks and counters, in the maps of the attached XDP program.

    Policy --read files, cut ranges--> the generation that is not active --one word--> active

Everything lies in the maps. Whoever may reach them, the process that attached the program or root by
`open_shield`, sees and changes the same; what changes something holds a lock, so that two never do at a time.
"""

import errno
import functools
import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from underpass.linux import interface
from underpass.shield import policy_image, ranges
from underpass.shield.drops import Drops
from underpass.shield.policy import BOGON_NETWORKS, Detection, Network, Policy
from underpass.shield.policy_file import Fault, PolicyError, parse, path_text
from underpass.shield.policy_image import TALLY_PLACES, PolicyImage, rules_of
from underpass.shield.prefixes import Prefixes
from underpass.shield.ranges import Classes, Ranges
from underpass.xdp.admission_maps import counted_octets, sources_at
from underpass.xdp.attachment import Attachment
from underpass.xdp.bpf_map import BpfMap, array_map
from underpass.xdp.steer_object import COUNTERS, FeatureRefused

LOCK_S = 10.0                           # how long to wait for somebody else's change
IPV4_BITS = 32
LIST_OCTETS_MAX = 256 << 20             # of a list's file: some ten million prefixes
ONLY = bytes(4)                         # the key of a single entry
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TALLY = struct.Struct("=QQ")
NEED_SOURCES = frozenset({"rates", "connections"})
COUNTERS_OF_FLOWS = frozenset({"cookies", "flows"})     # with these, workers tell what connections they have
PER_FAMILY = {
    4: ("v4_lists", "v4_ranges", ranges.V4_LISTS_BYTES, ranges.V4_PAGE_BYTES, ranges.V4_RANGES_OF_PAGE),
    6: ("v6_lists", "v6_ranges", ranges.V6_LISTS_BYTES, ranges.V6_PAGE_BYTES, ranges.V6_RANGES_OF_PAGE)}


class Steered(Protocol):
    """What is attached: an `XdpProgram` or an `Attachment`."""

    @property
    def features(self) -> frozenset[str]: ...
    def map(self, name: str) -> BpfMap: ...
    def switch(self, features: Iterable[str], entries: dict[str, int] | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Block:
    """A prefix that is blocked ("block", or "heavy" where it was found out) or let in ("allow").

    `left_s` None: until it is taken off. `packets`: how many came, about.
    """

    network: Network
    kind: str
    age_s: float
    left_s: float | None
    packets: int


@dataclass(frozen=True, slots=True)
class Heavy:
    """A source: packets in this second, or the last one, and in all that were noted; the last one's kind."""

    network: Network
    packets_ps: int
    packets: int
    protocol: int
    port: int
    flags: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Packets and octets."""

    packets: int
    octets: int


@contextmanager
def open_shield(name: str) -> Iterator["Shield"]:
    """The shield of an interface to which some process has attached Underpass. Raises OSError in one line."""
    index = interface.facts(name).link.index
    try:
        attachment = Attachment(index)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        raise OSError(errno.ENOENT, f"Underpass serves nothing on {name}: {error.strerror}; load a policy "
                                    "while a server runs, or by `underpass serve --shield`") from None
    with attachment:
        yield Shield(attachment, index)


class Shield:
    """See the module. Nothing is filtered before the first `load`."""

    def __init__(self, steered: Steered, index: int) -> None:
        self._steered, self._index = steered, index
        self.left_out: dict[str, str] = {}      # of the last policy, as the kernel refuses it, and why

    # the policy

    def load(self, policy: Policy) -> dict[str, int]:
        """Make it the one that is in force, all of it at once; returns how many prefixes each list has.

        Blocks stay. Raises OSError, and PolicyError with what is wrong with the policy and the files that it
        names; then the one before stays in force.
        """
        made = prepare(policy)
        with self._changing():
            self._refuse_counting(policy)
            self._refuse_lengths(policy)
            self._have_features(policy)
            with self._maps() as maps:
                active, loaded, *_ = self._state(maps)
                generation = 1 - active if loaded else active
                self._write_generation(maps, policy, made, generation)
                kept = self._kept_tallies(maps)
                state = _state_of(maps, policy.detection, generation)
                self._set_room(maps, policy)
                self._set_counted(maps, policy.counted())
                maps["shield"].update(ONLY, state)      # what may fail lies before it
                self._restart_tallies(maps, policy, kept)
        return made.sizes

    def unload(self) -> None:
        """Filter nothing any more; blocks stay, and are in force again with the next policy."""
        with self._changing(), self._maps() as maps:
            active, _, v4, v6, has = self._state(maps)
            maps["shield"].update(ONLY, policy_image.state_octets(active, 0, v4, v6, has))
            self._set_counted(maps, [])

    def is_loaded(self) -> bool:
        """Whether a policy is in force."""
        if "filters" not in self._steered.features:
            return False
        with self._maps() as maps:
            return bool(self._state(maps)[1])

    def policy(self) -> Policy | None:
        """The one in force; None: there is none."""
        if "filters" not in self._steered.features:
            return None
        with self._maps() as maps:
            return self._policy(maps)

    # blocks

    def block(self, network: Network, for_s: float | None = None) -> None:
        """Drop what comes from there, for so many seconds or until `unblock`; an allow list counts more.

        Raises OSError: ENOENT where no policy is loaded, ENOSPC where no more blocks, or lengths, can be.
        """
        self._say_of(network, "block", for_s)

    def allow(self, network: Network, for_s: float | None = None) -> None:
        """Let in what comes from there, whatever the policy says but for its form. Raises as `block`."""
        self._say_of(network, "allow", for_s)

    def unblock(self, network: Network) -> bool:
        """Take a block or an allowance off; whether there was one."""
        with self._changing(), self._loaded_maps() as maps:
            found = maps["blocks"].delete(policy_image.block_key_octets(network))
            self._set_lengths(maps)
            self._set_room(maps, self._policy(maps))
        return found

    def blocks(self) -> list[Block]:
        """Those in force, the longest lasting last."""
        if "filters" not in self._steered.features:
            return []
        now = time.monotonic_ns()
        with self._maps() as maps:
            found = [_block(key, value, now) for key, value in maps["blocks"].items()]
        rows = [it for it in found if it.left_s is None or it.left_s > 0]
        return sorted(rows, key=lambda it: (it.left_s is None, it.left_s or 0.0, str(it.network)))

    def blocked(self) -> bool:
        """Whether there is any block, one whose time is over included."""
        if "filters" not in self._steered.features:
            return False
        with self._maps() as maps:
            return maps["blocks"].has_keys()

    def sweep(self) -> int:
        """Remove blocks whose time is over, which no packet minds any more; how many. Who serves does this in
        between: it waits for nobody. Raises OSError EBUSY while another process is changing the shield.
        """
        if not self.blocked():
            return 0
        now, gone = time.monotonic_ns(), 0
        with self._changing(wait_s=0), self._maps() as maps:
            for key, value in maps["blocks"].items():
                until_ns = policy_image.block_fields(value)[1]
                gone += bool(until_ns and until_ns <= now) and maps["blocks"].delete(key)
            if gone:
                self._set_lengths(maps)
            self._set_room(maps, self._policy(maps))
        return gone

    def top(self) -> list[Heavy]:
        """Sources that lately sent most, about, the heaviest first. Empty where there is no [detection]."""
        if "detection" not in self._steered.features:
            return []
        now = time.monotonic_ns()
        with self._maps() as maps:
            found = [_heavy(key, value, now) for key, value in maps["heavies"].items()]
        return sorted((it for it in found if it.packets_ps), key=lambda it: -it.packets_ps)

    @contextmanager
    def drops(self) -> Iterator[Drops]:
        """Samples of what was dropped. Raises OSError ENOENT where the policy has no `samples = true`."""
        policy = self.policy()
        if policy is None or not policy.samples:
            raise OSError(errno.ENOENT, "the policy has no `samples = true`, without which none are kept")
        if "samples" not in self._steered.features:
            raise OSError(errno.ENOTSUP, "the kernel refuses samples: `underpass doctor` says why")
        with closing(self._steered.map("samples")) as samples:
            yield Drops(samples, [it.name for it in policy.sections()])

    # what is counted

    def stats(self) -> dict[str, Any]:
        """Tallies: "rules" and "lists" by name, "dropped" and "would_drop" (dry runs) by section and reason,
        the number of "blocks". Empty where no policy is loaded.
        """
        policy = self.policy()
        if policy is None:
            return {}
        with self._maps() as maps:
            named = self._named_tallies(maps)
            sections = policy.sections()
            found: dict[str, Any] = {
                "rules": {rule.name: named["rules", rule.name] for rule in rules_of(policy)},
                "lists": {it.name: named["lists", it.name] for it in policy.lists},
                "blocks": len(self.blocks())}
            if policy.detection is not None:
                _, blocked, would_block, refused = policy_image.detector_fields(
                    maps["detector"].lookup(ONLY) or b"")
                found["detection"] = {"blocked": blocked, "would_block": would_block, "refused": refused}
            for key, place in (("dropped", "dropped"), ("would_drop", "would")):
                first = TALLY_PLACES[place]
                found[key] = {section.name: self._reasons(maps, first + at * policy_image.REASONS)
                              for at, section in enumerate(sections)}
        return found

    # inside

    def _have_features(self, policy: Policy) -> None:
        """Samples only help to look on: where the kernel refuses them, the rest is there. Raises OSError."""
        needed, self.left_out = features_of(policy), {}
        try:
            self._switch_to(needed, policy)
        except FeatureRefused as refused:
            if refused.features.keys() != {"samples"}:
                raise
            self.left_out = refused.features
            self._switch_to(needed - {"samples"}, policy)

    def _switch_to(self, needed: frozenset[str], policy: Policy) -> None:
        sizes = {"sources": sets_for(policy.sources)} if needed & NEED_SOURCES else {}
        has_sizes = self._steered.features & NEED_SOURCES and self._entries("sources") == sizes.get("sources")
        if not needed <= self._steered.features or (sizes and not has_sizes):
            self._steered.switch(self._steered.features | needed, sizes)

    def _refuse_counting(self, policy: Policy) -> None:
        if policy.counted() and not (self._steered.features & COUNTERS_OF_FLOWS and self._counts_at()):
            raise OSError(errno.ENOTSUP, "`connections` limits what a server counts in memory shared "
                                         "with XDP: start it with --admission, or --syn-cookies auto")

    def _refuse_lengths(self, policy: Policy) -> None:
        """Before anything is exchanged: there is no room for the lengths of what [detection] would block."""
        if "filters" in self._steered.features:
            with self._maps() as maps:
                _lengths_of(maps, policy.detection)

    def _write_generation(self, maps: "_Maps", policy: Policy, made: "Prepared", generation: int) -> None:
        """All of it beside what is in force."""
        for version, it in made.families.items() if "lists" in self._steered.features else ():
            _write_ranges(maps, version, it, generation)
        _write_services(maps, policy, generation)
        for name, octets in (("policies", made.image), ("policy_texts", made.text)):
            maps[name].update(generation.to_bytes(4, "little"), octets)

    def _counts_at(self) -> int:
        """Where in the map `flows` it says what is counted; 0: nowhere."""
        return sources_at(self._entries("flows"))

    def _set_counted(self, maps: "_Maps", lengths: list[tuple[int, int]]) -> None:
        """Say for which prefixes workers are to count their connections."""
        if self._steered.features & COUNTERS_OF_FLOWS and self._counts_at():
            maps["flows"].update(self._counts_at().to_bytes(4, "little"), counted_octets(lengths))

    def _entries(self, name: str) -> int:
        with closing(self._steered.map(name)) as it:
            return it.max_entries

    @contextmanager
    def _changing(self, wait_s: float | None = None) -> Iterator[None]:
        """Alone: a name in the network namespace that the kernel gives back however we end."""
        end = time.monotonic() + (LOCK_S if wait_s is None else wait_s)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as lock:
            while True:
                try:
                    lock.bind(f"\0underpass-shield-{self._index}")
                    break
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    if time.monotonic() >= end:
                        raise OSError(errno.EBUSY, "another process is changing the shield") from None
                    time.sleep(0.02)
            yield

    @contextmanager
    def _maps(self) -> Iterator["_Maps"]:
        with ExitStack() as undo:
            yield _Maps(self._steered, undo)

    @contextmanager
    def _loaded_maps(self) -> Iterator["_Maps"]:
        """The maps, where a policy is loaded."""
        if "filters" not in self._steered.features:
            raise OSError(errno.ENOENT, "no policy is loaded: `underpass shield load POLICY.toml`")
        with self._maps() as maps:
            if not self._state(maps)[1]:
                raise OSError(errno.ENOENT, "no policy is loaded: `underpass shield load POLICY.toml`")
            yield maps

    @staticmethod
    def _state(maps: "_Maps") -> tuple[int, int, list[int], list[int], int]:
        return policy_image.state_fields(maps["shield"].lookup(ONLY) or b"")

    def _policy(self, maps: "_Maps") -> Policy | None:
        active, loaded, *_ = self._state(maps)
        if not loaded:
            return None
        octets = maps["policy_texts"].lookup(active.to_bytes(4, "little")) or bytes(4)
        size = int.from_bytes(octets[:4], "little")
        return _parsed(octets[4 : 4 + size])

    def _say_of(self, network: Network, kind: str, for_s: float | None) -> None:
        now = time.monotonic_ns()
        value = policy_image.block_octets(now, now + int(for_s * 1e9) if for_s else 0, kind)
        with self._changing(), self._loaded_maps() as maps:
            self._set_lengths(maps, network)
            try:
                maps["blocks"].update(policy_image.block_key_octets(network), value)
            except OSError as error:
                if error.errno != errno.E2BIG:
                    raise
                full = f"{policy_image.BLOCKS} prefixes are blocked, and no more can be"
                raise OSError(errno.ENOSPC, f"{full}; a list in the policy holds any number") from None

    def _set_lengths(self, maps: "_Maps", more: Network | None = None) -> None:
        """Note of which lengths there are blocks, and will be: the XDP program asks for those alone."""
        active, loaded, *_ = self._state(maps)
        detection = getattr(self._policy(maps), "detection", None)
        maps["shield"].update(ONLY, _state_of(maps, detection, active, loaded, more))

    @staticmethod
    def _set_room(maps: "_Maps", policy: Policy | None) -> None:
        """For how many more sources that are found out there is room."""
        if policy is None or policy.detection is None:
            return
        there = sum(policy_image.block_fields(value)[3] == "heavy" for _, value in maps["blocks"].items())
        counters = policy_image.detector_fields(maps["detector"].lookup(ONLY) or b"")[1:]
        room = policy.detection.blocks - there
        maps["detector"].update(ONLY, policy_image.detector_octets(room, *counters))

    def _named_tallies(self, maps: "_Maps") -> dict[tuple[str, str], Tally]:
        """Tallies of rules and lists of the policy in force, by their names."""
        policy = self._policy(maps)
        if policy is None:
            return {}
        names = {"rules": [rule.name for rule in rules_of(policy)], "lists": [it.name for it in policy.lists]}
        return {(kind, name): _tally(maps, TALLY_PLACES[kind] + number)
                for kind, them in names.items() for number, name in enumerate(them)}

    def _kept_tallies(self, maps: "_Maps") -> dict[tuple[str, str], Tally]:
        """The same, to go on with; of none where another version took a policy that this one does not."""
        try:
            return self._named_tallies(maps)
        except PolicyError:
            return {}

    @staticmethod
    def _reasons(maps: "_Maps", first: int) -> dict[str, Tally]:
        """Tallies by reason, those that are not zero."""
        found = {name: _tally(maps, first + reason) for reason, name in enumerate(COUNTERS)}
        return {name: it for name, it in found.items() if it.packets}

    @staticmethod
    def _restart_tallies(maps: "_Maps", policy: Policy, kept: dict[tuple[str, str], Tally]) -> None:
        """What is counted for a name goes on; numbers may have become another's."""
        names = {"rules": [rule.name for rule in rules_of(policy)], "lists": [it.name for it in policy.lists]}
        for kind, size in (("rules", policy_image.RULES), ("lists", 64)):
            for number in range(size):
                name = names[kind][number] if number < len(names[kind]) else ""
                before = kept.get((kind, name), Tally(0, 0))
                key = (TALLY_PLACES[kind] + number).to_bytes(4, "little")
                if before.packets or _tally(maps, TALLY_PLACES[kind] + number).packets:
                    empty = maps["tallies"].lookup(key) or b""
                    total = TALLY.pack(before.packets, before.octets)
                    maps["tallies"].update(key, total.ljust(len(empty), b"\0"))


class _Maps:
    """Maps by name, each opened when it is first asked for."""

    def __init__(self, steered: Steered, undo: ExitStack) -> None:
        self._steered, self._undo = steered, undo
        self._open: dict[str, BpfMap] = {}

    def __getitem__(self, name: str) -> BpfMap:
        if name not in self._open:
            self._open[name] = self._undo.enter_context(closing(self._steered.map(name)))
        return self._open[name]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything of a policy that maps take; `sizes`: how many prefixes each list has."""

    families: dict[int, Ranges]
    image: bytes
    text: bytes
    sizes: dict[str, int]


def prepare(policy: Policy) -> Prepared:
    """Read what it names and turn it into what maps take; nothing is changed. Raises PolicyError."""
    lists = read_lists(policy)
    classes = Classes()
    try:
        families = {version: Ranges(version, lists, classes) for version in PER_FAMILY}
        image = bytes(PolicyImage(policy, classes.masks, chosen_ports()))
        octets = _text_octets(policy)
    except ValueError as error:
        raise PolicyError([Fault(policy.file, None, "", str(error))]) from None
    return Prepared(families, image, octets,
                    {it.name: len(lists[place]) for place, it in enumerate(policy.lists)})


def features_of(policy: Policy) -> frozenset[str]:
    """What the XDP program must have in it for a policy."""
    rates = [rate for section in policy.sections() for rate in section.rates]
    wanted = {"rates": any(it.of_packets for it in rates),
              "connections": any(it.of_connections for it in rates),
              "detection": policy.detection is not None,
              "lists": bool(policy.lists) or has_bogons(policy), "samples": policy.samples}
    return frozenset({"filters", *(name for name, is_wanted in wanted.items() if is_wanted)})


def has_bogons(policy: Policy) -> bool:
    """Whether a section asks for the list that is built in; martians need none."""
    return any(it.bogons == "all" for it in policy.sections())


def sets_for(sources: int) -> int:
    """How many sets, a power of two, hold so many sources."""
    return 1 << (-(-sources // policy_image.SOURCES_IN_A_SET) - 1).bit_length()


def read_lists(policy: Policy) -> dict[int, Prefixes]:
    """The prefixes of each list by its number, with those that are built in. Raises PolicyError with what is
    wrong with their files.
    """
    found, faults = {}, []
    for number, it in enumerate(policy.lists):
        found[number] = Prefixes(it.prefixes)
        if it.file is not None:
            wrong = _read_list(found[number], it.file)
            key = path_text(("lists", it.name, "file"))
            faults += [Fault(policy.file, it.line, key, one) for one in wrong]
    if faults:
        raise PolicyError(faults)
    if has_bogons(policy):
        found[policy_image.BOGONS_LIST] = Prefixes(BOGON_NETWORKS)
    return found


def _read_list(into: Prefixes, file: str) -> list[str]:
    """Read a file's prefixes; what is wrong with it."""
    try:
        with Path(file).open("rb") as stream:
            octets = stream.read(LIST_OCTETS_MAX + 1)
    except OSError as error:
        return [f"{file}: {error.strerror}"]
    if len(octets) > LIST_OCTETS_MAX:
        return [f"{file}: is larger than {LIST_OCTETS_MAX >> 20} MiB"]
    return [f"{file}:{line}: {wrong}" for line, wrong in into.read(octets)]


def chosen_ports() -> tuple[int, int]:
    """The ports that Linux chooses by itself (ip_local_port_range)."""
    try:
        first, last = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return 32768, 60999             # Linux's own default
    return first, last


@functools.lru_cache(maxsize=2)
def _parsed(octets: bytes) -> Policy:
    """What stands in the maps; who serves asks for it every other second. Raises PolicyError."""
    folder, _, text = octets.decode().partition("\n")
    return parse(text, folder=folder)


def network_of(key: bytes) -> Network:
    """The prefix of a key of the map of blocks."""
    address, length = key[:16], key[16]
    if length <= IPV4_BITS and address[:12] == b"\0" * 10 + b"\xff\xff":
        return ipaddress.IPv4Network((address[12:], length))
    return ipaddress.IPv6Network((address, length))


def _block(key: bytes, value: bytes, now: int) -> Block:
    since_ns, until_ns, packets, kind = policy_image.block_fields(value)
    left_s = (until_ns - now) / 1e9 if until_ns else None
    return Block(network_of(key), kind, (now - since_ns) / 1e9, left_s, packets)


def _heavy(key: bytes, value: bytes, now: int) -> Heavy:
    window, packets, total, _, port, protocol, flags = policy_image.heavy_fields(value)
    is_fresh = (now >> policy_image.WINDOW) - window <= 1
    return Heavy(network_of(key), packets if is_fresh else 0, total, protocol, port, flags)


def _tally(maps: _Maps, place: int) -> Tally:
    octets = maps["tallies"].lookup(place.to_bytes(4, "little")) or b""
    rows = list(TALLY.iter_unpack(octets))
    return Tally(sum(row[0] for row in rows), sum(row[1] for row in rows))


def _text_octets(policy: Policy) -> bytes:
    """struct policy_text: the folder, a line's end, the text."""
    text = f"{policy.folder}\n{policy.text}".encode()
    if len(text) > policy_image.TEXT_BYTES:
        raise ValueError(f"a policy has at most {policy_image.TEXT_BYTES} octets with its folder, this one "
                         f"{len(text)}: put prefixes into files of their own")
    return len(text).to_bytes(4, "little") + text.ljust(policy_image.TEXT_BYTES, b"\0")


def _state_of(maps: _Maps, detection: Detection | None, active: int, loaded: int = 1,
              more: Network | None = None) -> bytes:
    """struct shield_state for the blocks that there are. Raises as `_lengths_of`."""
    lengths = _lengths_of(maps, detection, more)
    has_blocks = int(more is not None or maps["blocks"].has_keys())
    return policy_image.state_octets(active, loaded, lengths[4], lengths[6], has_blocks)


def _too_many_lengths(version: int, more: Network | None, heavy: int | None) -> str:
    """What is wrong and what would be right; `heavy`: the length that [detection] asks for."""
    most = policy_image.LENGTHS
    if more is None:
        return (f"IPv{version} prefixes of {most} different lengths are blocked, and [detection] would block "
                f"those of /{heavy}: give it one of these lengths, or unblock what has one of them")
    own = f", [detection]'s /{heavy} among them" if heavy is not None else ""
    return (f"IPv{version} prefixes of {most} different lengths are blocked{own}, and no more can be; a list "
            "in the policy holds any")


def _lengths_of(maps: _Maps, detection: Detection | None, more: Network | None = None
                ) -> dict[int, list[int]]:
    """Of which lengths prefixes of each family are blocked, with `more` and what [detection] blocks.

    The longest come first. Raises OSError, ENOSPC, where those are too many.
    """
    found: dict[int, set[int]] = {4: set(), 6: set()}
    for key in maps["blocks"].keys():  # noqa: SIM118  # a map of BPF, not a dict
        network = network_of(key)
        found[network.version].add(network.prefixlen)
    if more is not None:
        found[more.version].add(more.prefixlen)
    heavy = {4: detection.v4, 6: detection.v6} if detection is not None and detection.block_s else {}
    for version, lengths in found.items():
        lengths.update({heavy[version]} if heavy else ())
        if len(lengths) > policy_image.LENGTHS:
            raise OSError(errno.ENOSPC, _too_many_lengths(version, more, heavy.get(version)))
    return {version: sorted(lengths, reverse=True) for version, lengths in found.items()}


def _write_services(maps: _Maps, policy: Policy, generation: int) -> None:
    """Sections by address, instead of those that this generation had before."""
    for key, _ in maps["services"].items():
        if key[-1] == generation:
            maps["services"].delete(key)
    for number, it in enumerate(policy.service, 2):
        if it.address is not None:
            key = policy_image.service_key(it.address, it.port, generation)
            maps["services"].update(key, number.to_bytes(4, "little"))


def _write_ranges(maps: _Maps, version: int, found: Ranges, generation: int) -> None:
    """New inner maps with the ranges, or none where there are none."""
    lists, table, lists_bytes, page_bytes, ranges_of_page = PER_FAMILY[version]
    key = generation.to_bytes(4, "little")
    if found.is_empty:
        maps[lists].delete(key)
        maps[table].delete(key)
        return
    with closing(array_map(lists, lists_bytes, 1)) as head, \
            closing(array_map(table, page_bytes, -(-found.count // ranges_of_page), is_sized=True)) as rows, \
            closing(head.memory()) as head_memory, closing(rows.memory()) as rows_memory:
        found.write(head_memory, rows_memory)
        maps[table].update(key, rows.fd.to_bytes(4, "little"))
        maps[lists].update(key, head.fd.to_bytes(4, "little"))


