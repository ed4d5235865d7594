"""The filter's interpreter: programs that may not be run are refused, all others do what libpcap's does."""

import ctypes
import ctypes.util
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from underpass.observe.filter_expression import compile_filter
from underpass.testing import probe_bpf
from underpass.testing.packets import Flags, TcpSegment

LIBPCAP = ctypes.CDLL(ctypes.util.find_library("pcap") or "libpcap.so.0.8")
RETURN_ALL = struct.pack("=HBBI", 0x06, 0, 0, 262144)
EXPRESSIONS = (
    "tcp", "ip", "ip6", "tcp port 80", "tcp dst port 40000", "host 10.0.0.1", "ip6 host fd00::1", "vlan 7",
    "src net 10.0.0.0/24 and not dst port 443", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "less 60",
    "tcp[((tcp[12] & 0xf0) >> 2):2] = 0x4745", "vlan and tcp port 80", "vlan 7 and vlan 8", "greater 100",
    "len > 50 and len < 1000", "ether host 02:00:00:00:00:01", "ip[6:2] & 0x1fff != 0", "ip proto 17",
    "icmp or icmp6 or arp", "portrange 79-81",
    "tcp[0:2] % 7 == 3", "tcp[4:4] / tcp[2:2] > 5", "ip[0] << ip[1] == 4", "not (tcp port 80 or vlan)",
    "(tcp[13] ^ 3) * 5 - 1 != 0", "len & 1 == 0", "ether multicast", "ip multicast or ip6 multicast",
)  # fmt: skip

segments = some.builds(
    TcpSegment,
    src=some.sampled_from(["10.0.0.1", "10.0.1.7", "192.0.2.1"]),
    dst=some.just("10.0.0.2"),
    src_port=some.sampled_from([79, 80, 81, 443, 40000]), dst_port=some.sampled_from([80, 443, 40000]),
    seq=some.integers(0, 2**32 - 1), flags=some.integers(1, 255).map(Flags),
    payload=some.binary(max_size=80) | some.just(b"GET /"), vlan=some.sampled_from([(), (7,), (8,), (7, 8)]),
).map(TcpSegment.build)
segments6 = some.builds(
    TcpSegment, src=some.just("fd00::1"), dst=some.just("fd00::2"), dst_port=some.sampled_from([80, 81]),
    payload=some.binary(max_size=80),
).map(TcpSegment.build)
frames = segments | segments6 | some.binary(max_size=120) | some.builds(
    lambda frame, cut: frame[:cut], segments, some.integers(0, 60))


def libpcap_says(program: bytes, packet: bytes, wire_bytes: int) -> int:
    return int(LIBPCAP.bpf_filter(program, packet, wire_bytes, len(packet))) % 2**32


@pytest.mark.parametrize("expression", EXPRESSIONS)
@given(frame=frames, more=some.sampled_from([0, 0, 100]))
@settings(max_examples=150, deadline=None)
def test_compiled_expressions_give_what_libpcap_gives(expression: str, frame: bytes, more: int) -> None:
    program = compile_filter(expression)
    assert probe_bpf.run(program, frame, len(frame) + more) == libpcap_says(program, frame, len(frame) + more)


instructions = some.builds(
    lambda code, jt, jf, k: struct.pack("=HBBI", code, jt, jf, k),
    some.integers(0, 0xB7) | some.sampled_from(
        [0x06, 0x16, 0x20, 0x28, 0x30, 0x40, 0x50, 0x60, 0xB1, 0x15, 0x25, 0x45]),
    some.integers(0, 4), some.integers(0, 4), some.integers(0, 40) | some.integers(0, 2**32 - 1))


@given(body=some.lists(instructions, max_size=12), frame=some.binary(max_size=64))
@settings(max_examples=3000, deadline=None)
def test_any_program_that_may_be_run_gives_what_libpcap_gives(body: list[bytes], frame: bytes) -> None:
    """Memory apart, which libpcap leaves as it is found: programs begin by clearing it."""
    clear = b"".join(struct.pack("=HBBI", 0x02, 0, 0, cell) for cell in range(16))
    program = clear + b"".join(body) + struct.pack("=HBBI", 0x16, 0, 0, 0)
    if probe_bpf.check(program):
        assert probe_bpf.run(program, frame) == libpcap_says(program, frame, len(frame))


@given(body=some.lists(instructions, max_size=6))
@settings(max_examples=3000, deadline=None)
def test_what_may_be_run_libpcap_would_run_too(body: list[bytes]) -> None:
    program = b"".join(body) + RETURN_ALL
    if probe_bpf.check(program):
        assert LIBPCAP.bpf_validate(program, len(program) // 8)


@pytest.mark.parametrize("insn", [
    (0x05, 0, 0, 1), (0x05, 0, 0, 2**32 - 1), (0x15, 1, 0, 0), (0x15, 0, 1, 0), (0x15, 255, 255, 0),
    (0x0D, 0, 0, 0), (0x55, 0, 0, 0), (0x34, 0, 0, 0), (0x94, 0, 0, 0), (0x64, 0, 0, 32), (0x74, 0, 0, 2**31),
    (0x60, 0, 0, 16), (0x61, 0, 0, 16), (0x02, 0, 0, 16), (0x03, 0, 0, 2**32 - 1), (0x38, 0, 0, 0),
    (0x69, 0, 0, 0), (0x8C, 0, 0, 0), (0xB4, 0, 0, 0), (0x0E, 0, 0, 0), (0x17, 0, 0, 0), (0x106, 0, 0, 0),
    (0xFF20, 0, 0, 0), (0x1004, 0, 0, 0),
    (0x1015, 0, 0, 0), (0xA0, 0, 0, 0), (0x0A, 0, 0, 0),
])  # fmt: skip
def test_an_instruction_that_could_do_harm_is_refused(insn: tuple[int, int, int, int]) -> None:
    assert not probe_bpf.check(struct.pack("=HBBI", *insn) + RETURN_ALL)


def test_a_program_ends_with_a_return_and_is_no_longer_than_the_kernel_s() -> None:
    assert not probe_bpf.check(b"")
    assert not probe_bpf.check(struct.pack("=HBBI", 0x20, 0, 0, 0))
    assert probe_bpf.check(RETURN_ALL * 4096)
    assert not probe_bpf.check(RETURN_ALL * 4097)


def test_a_load_from_beyond_the_packet_refuses_it() -> None:
    for k in (61, 64, 2**31, 2**32 - 1):
        for code in (0x20, 0x40):
            program = struct.pack("=HBBIHBBI", 0x01, 0, 0, 2**32 - 1, code, 0, 0, k) + RETURN_ALL
            assert probe_bpf.run(program, b"x" * 59) == 0


def test_an_expression_that_is_wrong_says_so_in_libpcap_s_words() -> None:
    with pytest.raises(ValueError, match=r"'tcp prot 80'.*syntax error"):
        compile_filter("tcp prot 80")
    with pytest.raises(ValueError, match=r"protochain 6'.*loops"):
        compile_filter("ip6 protochain 6")
    assert compile_filter("  ") == b""
