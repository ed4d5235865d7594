"""What the XDP program asks before it lets a segment to a claimed port in: SYN cookies, and known flows first.

It has the engine's keys, so that the two make and accept the same cookies. `admit_how` is written here; what workers tell
it lies in memory that they share with it (link/gate.pyx).
"""
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import os
import time

from underpass.xdp.contract cimport (
    COOKIES_ALWAYS, COOKIES_AUTO, COOKIES_OFF, FLOW_SLOTS, PRESSURE_SHIFT, QUEUES_MAX, SOURCE_KIND, SOURCE_KINDS, admission,
    admit_config, flow_bucket, pressure,
)
from underpass.xdp.libbpf cimport bpf_map_lookup_elem, bpf_map_update_elem

SYN_COOKIES = {"off": COOKIES_OFF, "auto": COOKIES_AUTO, "always": COOKIES_ALWAYS}

cdef enum:
    KEYS_BYTES = 48                 # cookies, timestamps' offsets, flows
    ROOM = 256                      # the unit of half_open


cdef uint32_t in_a_window(uint64_t syns_ps) noexcept:
    """So many SYNs a second are how many in a window; at least 1."""
    return <uint32_t>max((syns_ps << PRESSURE_SHIFT) // 1000000000, <uint64_t>1)


cdef class AdmissionMaps:
    """The maps of an XdpProgram whose features are "cookies", "flows" or both. Raises OSError."""
    cdef object _maps               # own the descriptors
    cdef int _how, _admissions, _pressures
    cdef admit_config _current

    def __init__(self, program):
        self._maps = [program.map(name) for name in ("admit_how", "admissions", "pressures")]
        self._how, self._admissions, self._pressures = [it.fd for it in self._maps]
        memset(&self._current, 0, sizeof(self._current))

    def set_keys(self, bytes keys not None, *, uint32_t buckets, uint32_t source_buckets=0, uint64_t clock_offset_ns=0):
        """The engine's secrets, the buckets of the flow table (a power of two), those of sources in it, and the engine's
        lead over the kernel's clock. To be called first; nothing is written before set_cookies.
        """
        cdef const char *octets = keys
        if len(keys) != KEYS_BYTES:
            raise ValueError(f"keys have {KEYS_BYTES} octets, not {len(keys)}")
        if buckets == 0 or buckets & (buckets - 1):
            raise ValueError(f"a power of two of buckets, not {buckets}")
        memcpy(self._current.cookie_key, octets, 16)
        memcpy(self._current.secret, octets + 16, 16)
        memcpy(self._current.flow_key, octets + 32, 16)
        self._current.bucket_mask = buckets - 1
        self._current.sources_first = buckets + buckets // FLOW_SLOTS + 1       # behind what is counted: sources_at()
        self._current.sources_count = source_buckets - 1 if source_buckets else 0
        self._current.clock_offset_ns = clock_offset_ns

    def set_answer(self, *, uint16_t mss_v4, uint16_t mss_v6, uint16_t window, uint8_t window_scale, bint ecn,
                   bint partial_checksums):
        """What SYN-ACKs say, and whether the interface's packets may carry checksums that were left to the device."""
        self._current.mss_v4, self._current.mss_v6 = mss_v4, mss_v6
        self._current.window, self._current.window_scale = window, window_scale
        self._current.ecn = ecn
        self._current.partial_checksums = partial_checksums

    def set_cookies(self, str mode, *, uint64_t syn_rate=20000, double hold_s=10):
        """"off", "always", or "auto": from `syn_rate` SYNs a second on, or while half the room for half-open connections is
        used, and until `hold_s` seconds after less than half of that. Everything set before takes effect now.
        """
        if mode not in SYN_COOKIES:
            raise ValueError(f"SYN cookies are {', '.join(SYN_COOKIES)}, not {mode!r}")
        self._current.mode = SYN_COOKIES[mode]
        self._current.syns_on, self._current.syns_off = in_a_window(syn_rate), in_a_window(syn_rate // 2)
        self._current.half_open_on, self._current.half_open_off = ROOM // 2, ROOM // 4
        self._current.hold_ns = <uint64_t>(hold_s * 1e9)
        self.write()

    def write(self):
        """Have everything that was set take effect."""
        cdef uint32_t only = 0
        cdef int failed = bpf_map_update_elem(self._how, &only, &self._current, 0)
        if failed:
            raise OSError(-failed, f"cannot configure admission: {os.strerror(-failed)}")

    @property
    def fds(self):
        """Descriptors of the maps that workers share: admissions, pressures."""
        return self._admissions, self._pressures

    def state(self):
        """What is in force: the mode, whether cookies are on, how often "auto" switched them on, and by queue the level and
        the share of the room for half-open connections that is used; queues at 0 are left out.
        """
        cdef pressure seen
        cdef admission entry
        cdef uint32_t queue = 0
        cdef uint64_t now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if bpf_map_lookup_elem(self._pressures, &queue, &seen):
            raise OSError(errno, f"cannot read the pressure: {os.strerror(errno)}")
        (mode,) = [name for name, value in SYN_COOKIES.items() if value == self._current.mode]
        levels, half_open = {}, {}
        for queue in range(QUEUES_MAX):
            if bpf_map_lookup_elem(self._admissions, &queue, &entry):
                raise OSError(errno, f"cannot read the admission of queue {queue}: {os.strerror(errno)}")
            if entry.level and entry.until_ns > now:
                levels[queue] = entry.level
            if entry.half_open:
                half_open[queue] = entry.half_open / <double>ROOM
        on = mode == "always" or (mode == "auto" and (seen.until_ns > now or bool(levels)))
        return {"syn_cookies": mode, "on": on, "began": seen.began, "levels": levels, "half_open": half_open}


FLOWS_IN_A_BUCKET, KINDS_OF_SOURCES = FLOW_SLOTS, SOURCE_KINDS


def sources_at(entries):
    """Where in a map `flows` of so many entries those of sources begin, the first of which says what is counted; 0: nowhere."""
    buckets = 1 << (entries.bit_length() - 1)
    first = buckets + buckets // FLOW_SLOTS             # behind the tags
    return first if first < entries else 0


def counted_octets(lengths):
    """The bucket that says for which prefixes connections are counted: pairs of lengths, of IPv4 and of IPv6."""
    cdef flow_bucket bucket
    memset(&bucket, 0, sizeof(bucket))
    for place, (v4, v6) in enumerate(lengths):
        bucket.slots[place] = SOURCE_KIND(v4, v6)
    return (<char *>&bucket)[: sizeof(bucket)]
