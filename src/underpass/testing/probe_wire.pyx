"""The functions of `wire/` as Python functions, for tests."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from underpass.wire.address cimport address_from_text, address_to_text
from underpass.wire.address cimport (Address, address_is_any, address_is_group, address_is_link_local,
                                     address_is_loopback, address_is_v4)
from underpass.wire.checksum cimport (checksum_add, checksum_fold, checksum_odd, checksum_pseudo,
                                      checksum_update)
from underpass.wire.octets cimport bswap_16
from underpass.wire.reason cimport ACCEPTED, Reason
from underpass.wire.segment cimport (OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS,
                                     OPTION_WINDOW_SCALE, NO_VLAN, SackBlock, Segment, segment_length)
from underpass.wire.seq cimport seq_after, seq_before, seq_max, seq_span, seq_upto, seq_within
from underpass.wire.siphash cimport SipKey, siphash13_words, siphash13_words_and, siphash24
from underpass.wire.tcp cimport (TCP_MAX_BYTES, tcp_parse, tcp_write_header, tcp_write_mss, tcp_write_sack,
                                 tcp_write_sack_permitted, tcp_write_timestamps, tcp_write_window_scale)
from underpass.wire.toeplitz cimport Toeplitz, toeplitz_base, toeplitz_destination_at, toeplitz_init, toeplitz_port
from underpass.wire.reason import reason_names


cdef dict segment_to_dict(Segment *seg):
    """The fields of a segment under their names in segment.pxd; options that were not there are left out."""
    found = {
        "src": address_to_text(&seg.src), "dst": address_to_text(&seg.dst),
        "src_port": seg.src_port, "dst_port": seg.dst_port, "seq": seg.seq, "ack": seg.ack,
        "flags": seg.flags, "window": seg.window,
        "vlan": None if seg.vlan == NO_VLAN else seg.vlan, "hop_limit": seg.hop_limit,
        "traffic_class": seg.traffic_class, "ip_offset": seg.ip_offset, "tcp_offset": seg.tcp_offset,
        "payload_offset": seg.payload_offset, "payload_bytes": seg.payload_bytes,
        "head_bytes": seg.head_bytes, "total_bytes": seg.total_bytes, "length": segment_length(seg),
        "checksum_partial": bool(seg.checksum_partial),
        "sack_permitted": bool(seg.options & OPTION_SACK_PERMITTED),
        "sack": tuple([(block.start, block.end) for block in seg.sack[:seg.sack_count]]),
    }
    if seg.options & OPTION_MSS:
        found["mss"] = seg.mss
    if seg.options & OPTION_WINDOW_SCALE:
        found["window_scale"] = seg.window_scale
    if seg.options & OPTION_TIMESTAMPS:
        found["timestamps"] = (seg.ts_val, seg.ts_ecr)
    return found


def parse_tcp(bytes octets, head_bytes=None):
    """The TCP segment in `octets` as a dict, or the name of the reason why it is refused."""
    cdef Segment seg
    cdef uint32_t length = len(octets)
    cdef uint32_t head = length if head_bytes is None else head_bytes
    cdef Reason reason
    # A copy of just the first chunk, so that tools see what is read beyond it.
    cdef uint8_t *copy = <uint8_t *>malloc(head if head else 1)
    memcpy(copy, <const char *>octets, head)
    memset(&seg, 0, sizeof(seg))
    reason = tcp_parse(copy, head, length, &seg)
    free(copy)
    return segment_to_dict(&seg) if reason == ACCEPTED else reason_names()[reason]


def write_header(int src_port, int dst_port, uint32_t seq, uint32_t ack, int flags, int window,
                 int header_bytes):
    """The 20 octets that `tcp_write_header` writes."""
    cdef uint8_t[TCP_MAX_BYTES] room
    memset(room, 0xEE, sizeof(room))
    tcp_write_header(room, src_port, dst_port, seq, ack, flags, window, header_bytes)
    return (<const char *>room)[:20]


def write_options(mss=None, window_scale=None, sack_permitted=False, timestamps=None, sack=()):
    """The octets of the option writers, one after the other in the order of the arguments."""
    cdef uint8_t[128] room
    cdef SackBlock[4] blocks
    cdef uint32_t at = 0, count = 0
    if mss is not None:
        at += tcp_write_mss(room + at, mss)
    if window_scale is not None:
        at += tcp_write_window_scale(room + at, window_scale)
    if sack_permitted:
        at += tcp_write_sack_permitted(room + at)
    if timestamps is not None:
        at += tcp_write_timestamps(room + at, timestamps[0], timestamps[1])
    for start, end in sack[:4]:
        blocks[count].start, blocks[count].end = start, end
        count += 1
    if count:
        at += tcp_write_sack(room + at, blocks, count)
    return (<const char *>room)[:at]


def checksum(parts):
    """The complemented checksum, as it stands in a header, of octets that lie in several parts."""
    cdef uint64_t total = 0, part
    cdef bint odd = False
    cdef bytes octets
    for octets in parts:
        part = checksum_add(<const uint8_t *><const char *>octets, len(octets), 0)
        total += checksum_odd(part) if odd else part
        odd ^= len(octets) & 1
    return bswap_16(<uint16_t>~checksum_fold(total))


def pseudo(str src, str dst, uint32_t tcp_bytes):
    """The folded sum of the pseudo-header, as it stands in a header."""
    cdef Address one, other
    address_from_text(src, &one)
    address_from_text(dst, &other)
    return bswap_16(checksum_fold(checksum_pseudo(&one, &other, tcp_bytes)))


def update(uint16_t old_checksum, uint16_t old, uint16_t new):
    """RFC 1624."""
    return checksum_update(old_checksum, old, new)


cdef SipKey key_from(bytes octets):
    cdef SipKey key
    memcpy(&key, <const char *>octets, 16)
    return key


def sip24(bytes key, bytes octets):
    """SipHash-2-4 under a key of 16 octets."""
    cdef SipKey secret = key_from(key)
    return siphash24(&secret, <const uint8_t *><const char *>octets, len(octets))


def sip13(bytes key, bytes octets):
    """SipHash-1-3 of up to 128 octets."""
    cdef SipKey secret = key_from(key)
    cdef uint64_t[17] words
    cdef uint32_t count = <uint32_t>(len(octets) // 8)
    memset(words, 0, sizeof(words))
    memcpy(words, <const char *>octets, len(octets))
    if len(octets) % 8 == 0:
        return siphash13_words(&secret, words, count)
    return siphash13_words_and(&secret, words, count, words[count], len(octets) % 8)


def compare(uint32_t one, uint32_t other):
    """Comparisons of two sequence numbers: before, upto, after, span, and the later one."""
    return (bool(seq_before(one, other)), bool(seq_upto(one, other)), bool(seq_after(one, other)),
            seq_span(one, other), seq_max(one, other))


def within(uint32_t point, uint32_t start, uint32_t length):
    """Whether start =< point < start + length."""
    return bool(seq_within(point, start, length))


def address(str text):
    """The address's text as it comes back, and what kinds of address it is."""
    cdef Address it
    address_from_text(text, &it)
    kinds = {"v4": address_is_v4(&it), "any": address_is_any(&it), "loopback": address_is_loopback(&it),
             "group": address_is_group(&it), "link_local": address_is_link_local(&it)}
    return address_to_text(&it), {kind for kind, holds in kinds.items() if holds}


def toeplitz(bytes key, str src, int src_port, str dst, int dst_port):
    """The RSS hash of a TCP segment under a key."""
    cdef Toeplitz table
    cdef Address source, destination
    address_from_text(src, &source)
    address_from_text(dst, &destination)
    toeplitz_init(&table, key, len(key))
    return toeplitz_base(&table, &source, &destination, src_port) ^ toeplitz_port(
        &table, toeplitz_destination_at(address_is_v4(&source)), dst_port)
