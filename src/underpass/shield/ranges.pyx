"""Lists of prefixes as the XDP program searches them: sorted ranges, an index into them, gates in front.

    prefixes of all lists --> where each begins and ends --sorted--> ranges: from here on, addresses are of this class

A class is a set of lists. The structs are those of xdp/contract.h.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memset

from underpass.shield.prefixes cimport Prefix, Prefixes
from underpass.xdp.contract cimport (
    BLOOM_KEYS_OF_WORD, BLOOM_WORDS_BITS, CLASSES_MAX, V4_INDEX_BITS, V6_INDEX_BITS, bloom, bloom_bits, bloom_hash,
    bloom_rehash, u64, v4_lists, v4_page, v4_range, v6_lists, v6_page, v6_range,
)

cdef enum:
    V4_FEW = 16                 # addresses of a range that are in the Bloom filter each; one with more is wide
    V6_FEW = 256                # the same for prefixes of 32 bits
    KEYS_MAX = 2 * BLOOM_KEYS_OF_WORD << BLOOM_WORDS_BITS       # twice as many: one of 42 others gets through then
    V6_RANGES_MAX = 1 << 22     # which the program's search gets through

V4_LISTS_BYTES, V4_PAGE_BYTES, V4_RANGES_OF_PAGE = sizeof(v4_lists), sizeof(v4_page), sizeof(v4_page) // sizeof(v4_range)
V6_LISTS_BYTES, V6_PAGE_BYTES, V6_RANGES_OF_PAGE = sizeof(v6_lists), sizeof(v6_page), sizeof(v6_page) // sizeof(v6_range)


ctypedef struct Event:          # where a prefix begins or ends; IPv4 has its address in `low`
    uint64_t high
    uint64_t low
    uint8_t list
    uint8_t ends


ctypedef struct Range:
    uint64_t high
    uint64_t low
    uint32_t class_number


cdef int compare(const void *one, const void *other) noexcept nogil:
    cdef const Event *a = <const Event *>one
    cdef const Event *b = <const Event *>other
    if a.high != b.high:
        return -1 if a.high < b.high else 1
    if a.low != b.low:
        return -1 if a.low < b.low else 1
    return 0


cdef class Classes:
    """Sets of lists, numbered as they are met; 0 is none of them. `masks` has a bit for each list."""
    cdef readonly list masks
    cdef dict _numbers

    def __init__(self):
        self.masks = [0]
        self._numbers = {0: 0}

    cdef uint32_t number(self, uint64_t mask) except? 0xffffffff:
        found = self._numbers.get(mask)
        if found is None:
            if len(self.masks) == CLASSES_MAX:
                raise ValueError(f"addresses are in more than {CLASSES_MAX - 1} different sets of lists: make one list of "
                                 "those that are always named together")
            found = self._numbers[mask] = len(self.masks)
            self.masks.append(mask)
        return found


cdef uint64_t ones(int bits) noexcept nogil:
    """The lowest `bits` ones of 64."""
    return 0 if bits <= 0 else <uint64_t>-1 if bits >= 64 else (<uint64_t>1 << bits) - 1


cdef bint note_ends(const Prefix *one, uint8_t number, Event *first, Event *behind) noexcept nogil:
    """Where it begins, and the first address behind it; whether there is one."""
    cdef int bits = 128
    if one.version == 4:
        bits = 32
    first.high, first.low, first.list, first.ends = one.high, one.low, number, 0
    behind.list, behind.ends = number, 1
    behind.high = one.high | ones(bits - one.length - 64)
    behind.low = one.low | ones(bits - one.length)
    behind.low += 1
    if bits == 32:
        return behind.low < <uint64_t>1 << 32
    if behind.low == 0:
        behind.high += 1
        return behind.high != 0
    return True


cdef inline void set_bit(u64 *bits, uint64_t place) noexcept nogil:
    bits[place >> 6] |= <uint64_t>1 << (place & 63)


cdef inline void set_bits(u64 *bits, uint64_t first, uint64_t last) noexcept nogil:
    cdef uint64_t it
    for it in range(first, last + 1):
        set_bit(bits, it)


cdef void bloom_size(bloom *it, uint64_t keys) noexcept nogil:
    """Words for so many keys, none of which it has yet."""
    cdef int bits = 1
    while bits < BLOOM_WORDS_BITS and <uint64_t>BLOOM_KEYS_OF_WORD << bits < keys:
        bits += 1
    it.shift = 64 - bits


cdef void bloom_add(bloom *it, uint64_t first, uint64_t last) noexcept nogil:
    """All keys of a range."""
    cdef uint64_t key, hash
    for key in range(first, last + 1):
        hash = bloom_hash(<uint32_t>key)
        it.first[hash >> it.shift] |= bloom_bits(hash)
        hash = bloom_rehash(hash)
        it.second[hash >> it.shift] |= bloom_bits(hash)


cdef class Ranges:
    """The ranges of one family, over `lists`, number -> Prefixes; classes are shared by both."""
    cdef Range *at
    cdef readonly size_t count
    cdef int version

    def __init__(self, int version, dict lists not None, Classes classes not None):
        cdef size_t prefixes = sum([len(it) for it in lists.values()])
        cdef Event *events = <Event *>malloc((2 * prefixes + 1) * sizeof(Event))
        self.version = version
        self.at = <Range *>malloc((2 * prefixes + 1) * sizeof(Range))
        try:
            if events == NULL or self.at == NULL:
                raise MemoryError(f"{prefixes} prefixes")
            self._cut(events, self._collect(events, lists), classes)
        finally:
            free(events)
        if version == 6 and self.count > V6_RANGES_MAX:
            raise ValueError(f"the lists' IPv6 prefixes make {self.count} ranges, more than {V6_RANGES_MAX}: name networks "
                             "instead of what is in them, or leave some out")

    def __dealloc__(self):
        free(self.at)

    cdef size_t _collect(self, Event *events, dict lists) except? 0:
        """The events of all prefixes, sorted; how many."""
        cdef size_t count = 0, i
        cdef Prefixes of_one
        cdef uint8_t number
        for number, of_one in lists.items():
            for i in range(of_one.count):
                if of_one.at[i].version == self.version:
                    count += 1 + note_ends(&of_one.at[i], number, &events[count], &events[count + 1])
        qsort(events, count, sizeof(Event), compare)
        return count

    cdef _cut(self, const Event *events, size_t count, Classes classes):
        """A range from each address on at which the set of lists becomes another one."""
        cdef uint32_t[64] depth
        cdef uint64_t mask = 0, before = 0
        cdef size_t i = 0, first
        memset(depth, 0, sizeof(depth))
        self._append(0, 0, 0)
        while i < count:
            first = i
            while i < count and events[i].high == events[first].high and events[i].low == events[first].low:
                depth[events[i].list] += -1 if events[i].ends else 1
                if depth[events[i].list]:
                    mask |= <uint64_t>1 << events[i].list
                else:
                    mask &= ~(<uint64_t>1 << events[i].list)
                i += 1
            if mask != before:
                self._append(events[first].high, events[first].low, classes.number(mask))
                before = mask

    cdef _append(self, uint64_t high, uint64_t low, uint32_t class_number):
        if self.count and self.at[self.count - 1].high == high and self.at[self.count - 1].low == low:
            self.count -= 1
        self.at[self.count].high, self.at[self.count].low = high, low
        self.at[self.count].class_number = class_number
        self.count += 1

    @property
    def is_empty(self):
        """Whether no address is in any list."""
        return self.count == 1 and self.at[0].class_number == 0

    def write(self, unsigned char[::1] lists not None, unsigned char[::1] ranges not None):
        """Into the memory of the maps: one entry of v4_lists or v6_lists, and pages for `count` ranges."""
        if self.version == 4:
            if lists.shape[0] < <ssize_t>sizeof(v4_lists) or ranges.shape[0] < <ssize_t>(self.count * sizeof(v4_range)):
                raise ValueError("the maps are too small for the ranges")
            self._write_v4(<v4_lists *>&lists[0], <v4_range *>&ranges[0])
        else:
            if lists.shape[0] < <ssize_t>sizeof(v6_lists) or ranges.shape[0] < <ssize_t>(self.count * sizeof(v6_range)):
                raise ValueError("the maps are too small for the ranges")
            self._write_v6(<v6_lists *>&lists[0], <v6_range *>&ranges[0])

    cdef uint64_t _first(self, size_t i) noexcept nogil:
        """Of a range, in 32 bits: its first address, or of IPv6 the first half of that one's prefix of 64."""
        return self.at[i].low if self.version == 4 else self.at[i].high >> 32

    cdef uint64_t _last(self, size_t i) noexcept nogil:
        """The same of the last address."""
        if i + 1 == self.count:
            return 0xffffffff
        if self.version == 4:
            return self.at[i + 1].low - 1
        return (self.at[i + 1].high - (1 if self.at[i + 1].low == 0 else 0)) >> 32

    cdef uint64_t _keys(self, uint64_t few) noexcept nogil:
        """How many the Bloom filter has where ranges with up to so many are in it."""
        cdef uint64_t keys = 0, of_one
        cdef size_t i
        for i in range(self.count):
            of_one = self._last(i) - self._first(i) + 1
            if self.at[i].class_number and of_one <= few:
                keys += of_one
        return keys

    cdef uint64_t _few(self) noexcept nogil:
        """With how many at the most a range is in the filter, so that it does not overflow."""
        cdef uint64_t few = V4_FEW if self.version == 4 else V6_FEW
        while few > 1 and self._keys(few) > KEYS_MAX:
            few //= 2
        return few

    cdef void _open_gates(self, size_t i, uint64_t few, bloom *filter, u64 *wide, u64 *nets) noexcept nogil:
        """Let a range through; IPv6 has no `nets`."""
        cdef uint64_t first = self._first(i), last = self._last(i)
        if last - first < few:
            bloom_add(filter, first, last)
            return
        set_bits(wide, first >> 16, last >> 16)
        if nets != NULL:
            set_bits(nets, first >> 8, last >> 8)

    cdef void _write_v4(self, v4_lists *lists, v4_range *ranges) noexcept nogil:
        cdef size_t i, bucket = 0
        cdef uint64_t few = self._few()
        memset(lists, 0, sizeof(v4_lists))
        bloom_size(&lists.few, self._keys(few))
        for i in range(self.count):
            ranges[i].start, ranges[i].class_number = <uint32_t>self.at[i].low, self.at[i].class_number
            while bucket <= self.at[i].low >> (32 - V4_INDEX_BITS):
                lists.index[bucket] = max(i, 1)
                bucket += 1
            if self.at[i].class_number:
                self._open_gates(i, few, &lists.few, lists.wide, lists.nets)
        while bucket < (1 << V4_INDEX_BITS) + 2:
            lists.index[bucket] = max(self.count, 1)
            bucket += 1

    cdef void _write_v6(self, v6_lists *lists, v6_range *ranges) noexcept nogil:
        cdef size_t i, bucket = 0
        cdef uint64_t few = self._few()
        memset(lists, 0, sizeof(v6_lists))
        bloom_size(&lists.few, self._keys(few))
        for i in range(self.count):
            ranges[i].high, ranges[i].low = self.at[i].high, self.at[i].low
            ranges[i].class_number, ranges[i].zero = self.at[i].class_number, 0
            while bucket <= self.at[i].high >> (64 - V6_INDEX_BITS):
                lists.index[bucket] = max(i, 1)
                bucket += 1
            if self.at[i].class_number:
                self._open_gates(i, few, &lists.few, lists.wide, NULL)
        while bucket < (1 << V6_INDEX_BITS) + 2:
            lists.index[bucket] = max(self.count, 1)
            bucket += 1
