"""Rates, and heavy senders: what depends on time, with numbers that do not."""

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.shield.loaded import loaded

from underpass.shield import policy_file
from underpass.shield.policy_image import SOURCES_IN_A_SET
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram

# A rate so slow that nothing comes back within a test: what may come at once is all.
SLOW = 'burst = "1d"'
WORDS_OF_SOURCE = 4                     # a hash, and three times


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80), (veth.ours.v6, 80), (veth.ours.v4, 443)) as it:
        yield it


def load(program: XdpProgram, text: str) -> Shield:
    shield = Shield(program, program.netdev.index)
    shield.load(policy_file.parse(text))
    return shield


def outcomes(program: XdpProgram, veth: VethPair, times: int, **wrong: Any) -> Counter[str]:
    """What became of so many segments that are the same."""
    dst = veth.ours.v6 if ":" in wrong.get("src", "") else veth.ours.v4
    fields = {"src": "198.51.100.1", "dst": dst, "dst_port": 80, "flags": Flags.ACK} | wrong
    octets = TcpSegment(dst_mac=veth.ours.mac_text, src_mac=veth.peer.mac_text, **fields).build()
    before = Counter(program.counters())
    for _ in range(times):
        verdict(program, octets)
    return Counter(program.counters()) - before


def test_a_source_may_send_so_many_packets(program: XdpProgram, veth: VethPair) -> None:
    """One a day, and a burst of ten days."""
    load(program, '[[services.rate]]\nper = "source"\npackets = 1\nburst = 10\n')
    found = outcomes(program, veth, 60)
    assert 10 <= found["dropped_no_socket"] <= 12
    assert found["dropped_source_rate"] == 60 - found["dropped_no_socket"]
    assert outcomes(program, veth, 5, src="198.51.100.2") == {"dropped_no_socket": 5}


@pytest.mark.parametrize(
    ("v4", "same", "other"), [(32, "198.51.100.1", "198.51.100.2"), (24, "198.51.100.2", "198.51.101.1")]
)
def test_a_source_is_a_prefix(program: XdpProgram, veth: VethPair, v4: int, same: str, other: str) -> None:
    load(program, f'[[services.rate]]\nper = "source"\nv4 = {v4}\npackets = 1\nburst = 3\n')
    outcomes(program, veth, 9)
    assert outcomes(program, veth, 1, src=same) == {"dropped_source_rate": 1}
    assert outcomes(program, veth, 1, src=other) == {"dropped_no_socket": 1}


@pytest.mark.parametrize(
    ("v6", "same", "other"),
    [(64, "2001:db8::9", "2001:db8:0:1::1"), (48, "2001:db8:0:1::1", "2001:db8:1::1")],
)
def test_a_source_of_ipv6_is_a_prefix(
    program: XdpProgram, veth: VethPair, v6: int, same: str, other: str
) -> None:
    load(program, f'[[services.rate]]\nper = "source"\nv6 = {v6}\npackets = 1\nburst = 3\n')
    outcomes(program, veth, 9, src="2001:db8::1")
    assert outcomes(program, veth, 1, src=same) == {"dropped_source_rate": 1}
    assert outcomes(program, veth, 1, src=other) == {"dropped_no_socket": 1}


def test_syns_alone_are_counted_as_syns(program: XdpProgram, veth: VethPair) -> None:
    load(program, '[[services.rate]]\nper = "source"\nsyns = 1\nburst = 5\n')
    assert outcomes(program, veth, 50) == {"dropped_no_socket": 50}
    found = outcomes(program, veth, 50, flags=Flags.SYN)
    assert 5 <= found["dropped_no_socket"] <= 7
    assert outcomes(program, veth, 5) == {"dropped_no_socket": 5}


def test_octets_are_those_of_the_frame(program: XdpProgram, veth: VethPair) -> None:
    load(program, '[[services.rate]]\nper = "source"\nbytes = 1000\nburst = 10\n')
    found = outcomes(program, veth, 60, payload=bytes(946))  # 1000 with the headers
    assert 10 <= found["dropped_no_socket"] <= 12


def test_a_service_gets_so_much_of_all_sources(program: XdpProgram, veth: VethPair) -> None:
    load(program, '[[service]]\nport = 443\n[[service.rate]]\nper = "service"\npackets = 1\nburst = 10\n')
    found: Counter[str] = Counter()
    for last in range(60):
        found += outcomes(program, veth, 1, src=f"198.51.100.{last}", dst_port=443)
    assert 10 <= found["dropped_no_socket"] <= 12
    assert found["dropped_service_rate"] == 60 - found["dropped_no_socket"]
    assert outcomes(program, veth, 20, dst_port=80) == {"dropped_no_socket": 20}


def test_a_source_begins_so_many_connections(program: XdpProgram, veth: VethPair) -> None:
    """One a second, and a burst of five; what goes on in those that there are is not asked."""
    load(program, '[[services.rate]]\nper = "source"\nnew-connections = 1\nburst = 5\n')
    assert program.features == {"filters", "connections"}
    assert outcomes(program, veth, 50) == {"dropped_no_socket": 50}
    found = outcomes(program, veth, 50, flags=Flags.SYN)
    assert 5 <= found["dropped_no_socket"] <= 7
    assert found["dropped_new_connections"] == 50 - found["dropped_no_socket"]
    assert outcomes(program, veth, 1, flags=Flags.SYN, src="198.51.100.2") == {"dropped_no_socket": 1}
    assert outcomes(program, veth, 5) == {"dropped_no_socket": 5}


def test_all_sources_together_begin_so_many(program: XdpProgram, veth: VethPair) -> None:
    load(program, '[[service]]\nport = 443\n'
                  '[[service.rate]]\nper = "service"\nnew-connections = 1\nburst = 5\n')
    found: Counter[str] = Counter()
    for last in range(40):
        found += outcomes(program, veth, 1, src=f"198.51.100.{last}", dst_port=443, flags=Flags.SYN)
    assert 5 <= found["dropped_no_socket"] <= 7
    assert found["dropped_new_connections"] == 40 - found["dropped_no_socket"]
    assert outcomes(program, veth, 20, dst_port=80, flags=Flags.SYN) == {"dropped_no_socket": 20}


def test_what_begins_and_what_is_sent_are_counted_apart(program: XdpProgram, veth: VethPair) -> None:
    load(program, '[[services.rate]]\nper = "source"\nnew-connections = 1\npackets = 1\nburst = 5\n')
    assert program.features == {"filters", "rates", "connections"}
    found = outcomes(program, veth, 20, flags=Flags.SYN)
    assert 5 <= found["dropped_no_socket"] <= 7
    assert found["dropped_source_rate"] == 20 - found["dropped_no_socket"]
    assert found["dropped_new_connections"] == 0


def test_allowed_sources_have_no_rate_and_dry_runs_only_count(program: XdpProgram, veth: VethPair) -> None:
    text = (
        '[lists.good]\naction = "allow"\nprefixes = ["198.51.100.1"]\n'
        '[[services.rate]]\nper = "source"\npackets = 1\nburst = 3\n'
    )
    load(program, text)
    assert outcomes(program, veth, 20) == {"dropped_no_socket": 20}
    shield = load(program, "dry-run = true\n" + text)
    assert outcomes(program, veth, 20, src="198.51.100.9") == {"dropped_no_socket": 20}
    assert shield.stats()["would_drop"]["services"]["dropped_source_rate"].packets >= 15


ALLOWED = '[lists.good]\naction = "allow"\nprefixes = ["198.51.100.1"]\n[services]\norder = {}\n'
RULED = '[[services.rule]]\naction = "pass"\n'
LIMITED = (
    '[[services.rate]]\nper = "source"\npackets = 1\nburst = 3\n'
    '[[services.rate]]\nper = "source"\nnew-connections = 1\nburst = 3\n'
    '[detection]\npackets = 100\nblock-for = "10m"\n'
)


@pytest.mark.parametrize("order", ['["rules", "allow"]', '["rules"]', '["deny", "rules", "allow"]'])
def test_who_is_on_an_allow_list_is_not_limited_whatever_lets_it_in(
    program: XdpProgram, veth: VethPair, order: str
) -> None:
    """A rule passes everybody; the list alone keeps its members from rates, limits and blocks."""
    shield = load(program, ALLOWED.format(order) + "checksums = true\n" + RULED + LIMITED)
    assert outcomes(program, veth, 200, flags=Flags.SYN) == {"dropped_no_socket": 200}
    assert shield.blocks() == []
    shield.block(ipaddress.ip_network("198.51.100.0/24"))
    assert outcomes(program, veth, 5) == {"dropped_no_socket": 5}
    assert outcomes(program, veth, 5, src="198.51.100.2") == {"dropped_blocked": 5}
    assert shield.unblock(ipaddress.ip_network("198.51.100.0/24"))
    others = outcomes(program, veth, 200, flags=Flags.SYN, src="198.51.100.2")
    assert others["dropped_source_rate"] + others["dropped_blocked"] >= 190
    assert [it.network for it in shield.blocks()] == [ipaddress.ip_network("198.51.100.2")]


def test_sources_that_are_kept_are_as_many_as_the_policy_says(program: XdpProgram) -> None:
    load(program, 'sources = 1024\n[[services.rate]]\nper = "source"\npackets = 5\n')
    assert program.map("sources").max_entries * SOURCES_IN_A_SET == 1024
    load(program, 'sources = 2048\n[[services.rate]]\nper = "source"\npackets = 5\n')
    assert program.map("sources").max_entries * SOURCES_IN_A_SET == 2048
    assert program.features == {"filters", "rates"}
    load(program, 'sources = 1025\n[[services.rate]]\nper = "source"\npackets = 5\n')
    assert program.map("sources").max_entries * SOURCES_IN_A_SET == 2048


def test_who_sends_too_much_is_not_forgotten_for_many_others(program: XdpProgram, veth: VethPair) -> None:
    """Twenty times as many sources as are kept: each is a second ahead of the clock, that one thousands."""
    load(program, 'sources = 256\n[[services.rate]]\nper = "source"\npackets = 1\nburst = 5000\n')
    outcomes(program, veth, 5100)
    assert outcomes(program, veth, 100)["dropped_source_rate"] > 50     # some may come in as time goes
    for number in range(5000):
        outcomes(program, veth, 1, src=f"10.9.{number >> 8}.{number & 255}")
    assert outcomes(program, veth, 100)["dropped_source_rate"] > 50


def set_even(program: XdpProgram, name: str, even: int) -> int:
    """Have all who are counted be even then; how many times that are."""
    changed = 0
    with closing(program.map(name)) as them:
        for key, value in them.items():
            words = list(struct.unpack(f"={len(value) // 8}Q", value))
            whose = [it for it in range(len(words)) if name == "service_rates" or it % WORDS_OF_SOURCE]
            if any(words):
                changed += len(whose)
                words = [even if it in whose else word for it, word in enumerate(words)]
                them.update(key, struct.pack(f"={len(words)}Q", *words))
    return changed


@pytest.mark.parametrize("even", [2**64 - 1, 1 << 63, 1], ids=["wraps soon", "in a year", "long ago"])
@pytest.mark.parametrize(("per", "limit"), [("source", "packets"), ("service", "packets"),
                                            ("source", "new-connections"), ("service", "new-connections")])
def test_a_clock_that_wraps_shuts_nobody_out(
    program: XdpProgram, veth: VethPair, per: str, limit: str, even: int
) -> None:
    """As on a host that has been up for 834 days: what was kept before lies behind, whatever its number."""
    load(program, f'[[services.rate]]\nper = "{per}"\n{limit} = 1\nburst = 5\n')
    assert outcomes(program, veth, 20, flags=Flags.SYN)["dropped_no_socket"] <= 7
    assert set_even(program, "sources" if per == "source" else "service_rates", even)
    found = outcomes(program, veth, 20, flags=Flags.SYN)
    assert 5 <= found["dropped_no_socket"] <= 7
    assert found.total() == 20


def test_who_was_there_before_the_clock_wrapped_makes_room(program: XdpProgram, veth: VethPair) -> None:
    load(program, 'sources = 256\n[[services.rate]]\nper = "source"\npackets = 1\nburst = 5000\n')
    for number in range(2000):
        outcomes(program, veth, 1, src=f"10.8.{number >> 8}.{number & 255}")
    assert set_even(program, "sources", 2**64 - 1) == 256 * (WORDS_OF_SOURCE - 1)
    outcomes(program, veth, 5100)
    for number in range(2000):
        outcomes(program, veth, 1, src=f"10.9.{number >> 8}.{number & 255}")
    assert outcomes(program, veth, 100)["dropped_source_rate"] > 50     # some may come in as time goes


def test_a_policy_that_is_loaded_again_forgets_what_sources_have_used_up(
    program: XdpProgram, veth: VethPair
) -> None:
    text = '[[services.rate]]\nper = "source"\npackets = 1\nburst = 50\n'
    for _ in range(2):
        load(program, text)
        assert outcomes(program, veth, 50) == {"dropped_no_socket": 50}
        assert outcomes(program, veth, 50)["dropped_source_rate"] > 25


def test_sources_are_told_apart(program: XdpProgram, veth: VethPair) -> None:
    """None is taken for another."""
    load(program, 'sources = 65536\n[[services.rate]]\nper = "source"\npackets = 1\nburst = 1\n')
    for number in range(2000):
        found = outcomes(program, veth, 1, src=f"10.9.{number >> 8}.{number & 255}")
        assert found == {"dropped_no_socket": 1}


HEAVY = '[detection]\npackets = 100\nblock-for = "10m"\nblocks = 2\n'


def test_a_heavy_source_is_blocked_for_a_time(program: XdpProgram, veth: VethPair) -> None:
    shield = load(program, HEAVY)
    found = outcomes(program, veth, 1000)
    assert found["dropped_blocked"] >= 1000 - 2 * 165
    (block,) = shield.blocks()
    assert (block.network, block.kind) == (ipaddress.ip_network("198.51.100.1"), "heavy")
    assert 500 < block.left_s <= 600  # type: ignore[operator]
    assert outcomes(program, veth, 5, src="198.51.100.2") == {"dropped_no_socket": 5}
    assert shield.unblock(block.network)
    assert outcomes(program, veth, 1)["dropped_blocked"] == 0


def test_who_is_allowed_is_never_blocked(program: XdpProgram, veth: VethPair) -> None:
    shield = load(program, HEAVY + '[lists.good]\naction = "allow"\nprefixes = ["198.51.100.0/24"]')
    assert outcomes(program, veth, 1000) == {"dropped_no_socket": 1000}
    assert shield.blocks() == []
    (heavy,) = shield.top()
    assert heavy.network == ipaddress.ip_network("198.51.100.1")
    assert (heavy.protocol, heavy.port, heavy.flags) == (6, 80, Flags.ACK)
    assert 900 <= heavy.packets <= 1000


def test_who_sends_to_linux_is_named_and_left_alone(program: XdpProgram, veth: VethPair) -> None:
    """There is no [interface]: what Linux gets is not filtered, but one may ask who floods it."""
    shield = load(program, HEAVY)
    assert outcomes(program, veth, 1000, dst_port=81) == {"passed_unclaimed": 1000}
    assert shield.blocks() == []
    (heavy,) = shield.top()
    assert heavy.network == ipaddress.ip_network("198.51.100.1")
    assert (heavy.protocol, heavy.port) == (6, 81)


def test_blocks_that_come_of_themselves_have_a_limit(program: XdpProgram, veth: VethPair) -> None:
    shield = load(program, HEAVY)
    for last in range(1, 6):
        outcomes(program, veth, 400, src=f"198.51.100.{last}")
    assert len(shield.blocks()) == 2
    assert shield.stats()["detection"]["refused"] >= 3


def test_unblocking_by_hand_makes_room_for_others(program: XdpProgram, veth: VethPair) -> None:
    """Also where no block is left, so that nothing is swept."""
    shield = load(program, HEAVY)
    for last in (1, 2):
        outcomes(program, veth, 400, src=f"198.51.100.{last}")
    for block in shield.blocks():
        assert shield.unblock(block.network)
    assert shield.blocks() == []
    assert shield.sweep() == 0
    for last in (3, 4, 5):
        outcomes(program, veth, 400, src=f"198.51.100.{last}")
    assert {str(it.network) for it in shield.blocks()} == {"198.51.100.3/32", "198.51.100.4/32"}


def test_detection_that_only_counts(program: XdpProgram, veth: VethPair) -> None:
    shield = load(program, HEAVY + "dry-run = true\n")
    assert outcomes(program, veth, 1000) == {"dropped_no_socket": 1000}
    assert shield.blocks() == []
    assert shield.stats()["detection"]["would_block"] >= 1


@pytest.mark.parametrize("wrong", [{"tcp_checksum": 0x1234}, {"ip_checksum": 0x1234}])
def test_damage_is_dropped(program: XdpProgram, veth: VethPair, wrong: dict[str, int]) -> None:
    load(program, "[services]\nchecksums = true\n")
    for size in (0, 1, 2, 3, 4, 99, 1399):
        for src, dst in (("198.51.100.1", veth.ours.v4), ("2001:db8::1", veth.ours.v6)):
            text = (bytes(range(256)) * 6)[:size]
            segment = TcpSegment(src=src, dst=dst, dst_port=80, dst_mac=veth.ours.mac_text, payload=text)
            before = Counter(program.counters())
            verdict(program, segment.build())
            assert Counter(program.counters()) - before == {"dropped_no_socket": 1}
            if "ip_checksum" in wrong and ":" in src:
                continue
            before = Counter(program.counters())
            verdict(program, segment.build(**wrong))
            assert Counter(program.counters()) - before == {"dropped_checksum": 1}
