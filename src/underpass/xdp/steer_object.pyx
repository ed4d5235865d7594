"""The XDP program loaded into the kernel, with its maps: which features are in it, and which maps it shares with others.

A feature that is off has neither code nor maps there. To switch one, a second object is loaded that reuses the maps of
the first, and takes its place in the attachment.
"""
from libc.errno cimport EEXIST, ENOEXEC, EPERM, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import os
import resource
from importlib.resources import files

from underpass.xdp.bpf_map import BpfMap
from underpass.xdp.contract cimport (
    CONTRACT_VERSION, COUNTERS_MAX, FEATURE_COOKIES, FEATURE_DETECTION, FEATURE_FILTERS, FEATURE_FLOWS, FEATURE_RATES,
    FEATURE_CONNECTIONS, FEATURE_LISTS, FEATURE_SAMPLES, built_in, counter_texts,
)
from underpass.xdp.libbpf cimport *

FEATURES = {"filters": FEATURE_FILTERS, "rates": FEATURE_RATES, "detection": FEATURE_DETECTION,
            "cookies": FEATURE_COOKIES, "flows": FEATURE_FLOWS, "samples": FEATURE_SAMPLES, "lists": FEATURE_LISTS,
            "connections": FEATURE_CONNECTIONS}

VERSION = CONTRACT_VERSION                              # of the maps' layout
COUNTERS = tuple([counter_texts[reason].decode() for reason in range(COUNTERS_MAX)])    # by reason

# Maps that are there only with one of these features; all others always are.
MAPS = {
    "shield": {"filters"}, "policies": {"filters"}, "services": {"filters"}, "tallies": {"filters"},
    "v4_lists": {"lists"}, "v4_ranges": {"lists"}, "v6_lists": {"lists"}, "v6_ranges": {"lists"},
    "blocks": {"filters"}, "policy_texts": {"filters"},
    "sources": {"rates", "connections"}, "service_rates": {"rates", "connections"},
    "sketches": {"detection"}, "heavies": {"detection"}, "detector": {"detection"},
    "samples": {"samples"},
    "flows": {"cookies", "flows"}, "fresh": {"cookies", "flows"}, "admissions": {"cookies", "flows"},
    "pressures": {"cookies", "flows"}, "admit_how": {"cookies", "flows"},
}

NEED_FILTERS = FEATURES.keys() - {"filters", "cookies", "flows"}
SMALL = {"flows": 64, "sources": 4}                     # maps of a program that is loaded to see what the kernel says
ABOUT_THE_LOG = ("processed ", "verification time", "stack depth")

cdef enum:
    LOG_BYTES = 1 << 24

libbpf_set_print(NULL)              # its messages go to stderr; ours are in the exceptions


def checked_features(names):
    """Names of features as a set. Raises ValueError for one that is none."""
    unknown = set(names) - FEATURES.keys()
    if unknown:
        raise ValueError(f"features are {', '.join(FEATURES)}, not {min(unknown)!r}")
    return frozenset(names)


def check_version(version):
    """Of the program that is attached. Raises OSError, ENOEXEC, where its maps may be laid out in another way."""
    if version != VERSION:
        raise OSError(ENOEXEC, "the XDP program that is attached is another version's, and its maps have another layout: "
                               "start the server anew")


def raise_memlock_limit():
    """Lift RLIMIT_MEMLOCK as far as allowed; since Linux 5.11 BPF doesn't need it: a refusal is no error."""
    for wanted in (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]):
        try:
            return resource.setrlimit(resource.RLIMIT_MEMLOCK, (wanted, wanted))
        except (ValueError, OSError):
            continue


class FeatureRefused(OSError):
    """The kernel refuses the program with some of its features: `features` has what it says of each, by name."""

    def __init__(self, number, features):
        said = "; ".join([f"{name}: {why}" for name, why in features.items()])
        super().__init__(number, f"the kernel refuses what XDP needs for {said}")
        self.features = features


def why_refused(features, bint multi_buffer=False):
    """What the kernel says of each of the features that it refuses, by name: the program is loaded with one more of them at a
    time, where it does not take all. Empty, too, where it does not even take the program without any.
    """
    refused, taken = {}, set()
    if why_not(features, multi_buffer) is None or why_not(taken, multi_buffer) is not None:
        return refused
    for name in [it for it in FEATURES if it in features]:
        if "filters" in refused and name in NEED_FILTERS:
            continue
        why = why_not(taken | {name}, multi_buffer)
        if why:
            refused[name] = why
        else:
            taken.add(name)
    return refused


def why_not(features, bint multi_buffer=False):
    """Why the kernel does not take the program with these features; None: it does."""
    try:
        SteerObject(features, multi_buffer, entries=SMALL, explain=True).close()
    except OSError as error:
        return error.strerror
    return None


def last_words(str log):
    """What the verifier has to say in the end, without what it says of itself."""
    lines = [it.strip() for it in log.splitlines() if it.strip() and not it.startswith(ABOUT_THE_LOG)]
    return next(reversed(lines), "")


cdef int descriptor_of(const bpf_map *it) noexcept:
    """-1 where the map is not in the kernel; since libbpf 1.4 bpf_map__fd has a number for those too."""
    cdef int fd = bpf_map__fd(it)
    return fd if bpf_map__autocreate(it) and fd >= 0 else -1


cdef class SteerObject:
    """Loaded with `features`, for packets of one or of several buffers, and where `both` with the program for the other kind.

    `reuse` has descriptors of maps, by name, that are shared; `entries` how large others are to be; `measured` names a
    program of the bench instead. With `explain` an error is the verifier's own words. Raises OSError, ValueError;
    FeatureRefused where the kernel takes the program without some of the features.
    """

    def __cinit__(self):
        self.program_fd = self.other_fd = -1

    def __init__(self, features, bint multi_buffer, bint both=False, dict reuse=None, dict entries=None,
                 str measured=None, bint explain=False):
        cdef bpf_object_open_opts options
        self.features = checked_features(features)
        self.multi_buffer = multi_buffer
        image = files("underpass.xdp").joinpath("bench.bpf.o" if measured else "steer.bpf.o").read_bytes()
        name, other = (b"steer_frags", b"steer") if multi_buffer else (b"steer", b"steer_frags")
        raise_memlock_limit()
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        if explain:
            self.log = <char *>calloc(1, LOG_BYTES)
            options.kernel_log_buf, options.kernel_log_size = self.log, LOG_BYTES if self.log != NULL else 0
        self.object = bpf_object__open_mem(<const char *>image, len(image), &options)
        if self.object == NULL:
            raise OSError(errno, f"cannot open the XDP program: {os.strerror(errno)}")
        try:
            self._choose_maps(reuse or {}, entries or {})
            self._load(measured.encode() if measured else name, other if both else b"")
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        self.close()

    cdef _choose_maps(self, dict reuse, dict entries):
        cdef built_in built
        memset(&built, 0, sizeof(built))
        built.version = CONTRACT_VERSION
        built.features = sum([FEATURES[name] for name in self.features])
        built.source_mask = self._sources(reuse, entries) - 1
        cdef bpf_map *it = bpf_object__next_map(self.object, NULL)
        cdef int failed = 0
        while it != NULL and failed == 0:
            name = bpf_map__name(it).decode()
            if name.endswith(".rodata"):
                failed = bpf_map__set_initial_value(it, &built, sizeof(built))
            elif name in reuse:
                failed = bpf_map__reuse_fd(it, reuse[name])
            elif name in MAPS and not MAPS[name] & self.features:
                failed = bpf_map__set_autocreate(it, False)
            elif name in entries:
                failed = bpf_map__set_max_entries(it, entries[name])
            it = bpf_object__next_map(self.object, it)
        if failed:
            raise OSError(-failed, f"cannot prepare the XDP program's maps: {os.strerror(-failed)}")

    cdef uint32_t _sources(self, dict reuse, dict entries) except 0:
        """How many sets of sources there will be."""
        if "sources" in reuse:
            return BpfMap(os.dup(reuse["sources"])).max_entries
        return entries.get("sources") or bpf_map__max_entries(bpf_object__find_map_by_name(self.object, b"sources"))

    cdef _load(self, bytes name, bytes other):
        """Load the program of that name, and the other one if it has a name."""
        cdef bpf_program *it = bpf_object__next_program(self.object, NULL)
        while it != NULL:
            bpf_program__set_autoload(it, bpf_program__name(it) in (name, other))
            it = bpf_object__next_program(self.object, it)
        cdef int failed = bpf_object__load(self.object)
        if failed and self.log != NULL:
            raise OSError(-failed, last_words(self.log.decode(errors="replace")) or os.strerror(-failed))
        if failed:
            refused = {} if failed == -EPERM else why_refused(self.features, self.multi_buffer)
            if refused:
                raise FeatureRefused(-failed, refused)
            named = f" with the features {', '.join(sorted(self.features))}" if self.features else ""
            raise OSError(-failed, f"the kernel refuses the XDP program{named}: {os.strerror(-failed)}"
                          + (" (CAP_BPF and CAP_NET_ADMIN are needed)" if failed == -EPERM else ""))
        self.program_fd = bpf_program__fd(bpf_object__find_program_by_name(self.object, name))
        self._bind_maps()
        if other:
            self.other_fd = bpf_program__fd(bpf_object__find_program_by_name(self.object, other))

    cdef _bind_maps(self):
        """Have the program hold its maps, those too that only user space uses: others find them by it."""
        cdef int failed
        for name, fd in self.maps().items():
            failed = bpf_prog_bind_map(self.program_fd, fd, NULL)
            if failed and failed != -EEXIST:
                raise OSError(-failed, f"cannot bind the map {name}: {os.strerror(-failed)}")

    cdef int map_fd(self, str name) except -2:
        """The descriptor of a map, which stays the object's; -1: it is not there with these features."""
        cdef bpf_map *found = NULL
        if self.object != NULL:
            found = bpf_object__find_map_by_name(self.object, name.encode())
        return descriptor_of(found) if found != NULL else -1

    def maps(self):
        """Descriptors by name, which stay the object's."""
        found = {}
        cdef bpf_map *it = NULL
        cdef int fd
        if self.object != NULL:
            it = bpf_object__next_map(self.object, NULL)
        while it != NULL:
            name = bpf_map__name(it).decode()
            fd = descriptor_of(it)
            if fd >= 0 and not name.endswith(".rodata"):
                found[name] = fd
            it = bpf_object__next_map(self.object, it)
        return found

    def map(self, str name not None):
        """A map, with a descriptor of its own. Raises KeyError where these features have none of that name."""
        cdef int fd = self.map_fd(name)
        if fd < 0:
            raise KeyError(name)
        return BpfMap(os.dup(fd))

    def close(self):
        """Unload it, unless it is attached. May be called twice."""
        if self.object != NULL:
            bpf_object__close(self.object)
            self.object = NULL
        free(self.log)
        self.log = NULL
        self.program_fd = self.other_fd = -1
