"""The XDP program that is attached to an interface, as another process sees it: found by the kernel's numbers.

Needs CAP_SYS_ADMIN. Who attached it has the same things in `XdpProgram`.
"""
from libc.errno cimport ENOENT, EPERM, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close as close_fd

import os

from underpass.xdp.bpf_map import BpfMap
from underpass.xdp.contract cimport built_in
from underpass.xdp.libbpf cimport *
from underpass.xdp.query import UNKNOWN, attached_program
from underpass.xdp.steer_object import FEATURES, SteerObject, check_version

PROGRAMS = {"steer": False, "steer_frags": True}       # and whether it is for packets of several buffers
RODATA = ".rodata"

cdef enum:
    MAPS_MAX = 64


def switch(int link_fd, before, features, dict entries=None, str measured=None):
    """Have the attachment run a program with other features over the same maps; returns its object.

    `before` has `maps()`, `multi_buffer` and `features`. A map whose size is to be another one is made anew. No packet
    passes without one of the two programs. `measured` names one of the bench. Raises OSError.
    """
    wanted = entries or {}
    reuse = {}
    for name, fd in before.maps().items():
        if name not in wanted or BpfMap(os.dup(fd)).max_entries == wanted[name]:
            reuse[name] = fd
    object = SteerObject(features, before.multi_buffer, reuse=reuse, entries=wanted, measured=measured)
    cdef int failed = bpf_link_update(link_fd, object.program_fd, NULL)
    if failed:
        object.close()
        raise OSError(-failed, f"cannot exchange the XDP program: {os.strerror(-failed)}")
    return object


cdef int link_of(uint32_t ifindex) except -1:
    """A descriptor of the link that attaches XDP to an interface. Raises OSError, ENOENT where there is none."""
    cdef bpf_link_info info
    cdef bpf_xdp_query_opts here
    cdef uint32_t number = 0, room
    cdef int fd
    memset(&here, 0, sizeof(here))
    here.sz = sizeof(here)
    bpf_xdp_query(ifindex, 0, &here)        # interfaces of other namespaces may have the same number
    while bpf_link_get_next_id(number, &number) == 0:
        fd = bpf_link_get_fd_by_id(number)
        if fd < 0:
            if fd == -EPERM:
                raise OSError(EPERM, "CAP_SYS_ADMIN is needed to reach what another process has attached")
            continue                                    # it went meanwhile
        room = sizeof(info)
        memset(&info, 0, sizeof(info))
        if bpf_obj_get_info_by_fd(fd, &info, &room) == 0 and info.type == BPF_LINK_TYPE_XDP and \
                info.xdp.ifindex == ifindex and info.prog_id == here.prog_id:
            return fd
        close_fd(fd)
    if errno == EPERM:
        raise OSError(EPERM, "CAP_SYS_ADMIN is needed to reach what another process has attached")
    raise OSError(ENOENT, "no XDP program is attached by a link")


def is_steered(ifindex):
    """Whether an interface of this namespace runs Underpass's program. Raises OSError, EPERM where that is not told."""
    found = attached_program(ifindex)
    if found is not None and found[1] == UNKNOWN:
        raise OSError(EPERM, "CAP_SYS_ADMIN is needed to ask which XDP program an interface runs")
    return found is not None and found[1] in PROGRAMS


cdef class Attachment:
    """What interface number `ifindex`, or the link of that descriptor, runs. Raises OSError: ENOENT, EPERM, ENOEXEC."""
    cdef readonly int link_fd
    cdef readonly frozenset features
    cdef readonly bint multi_buffer
    cdef dict _maps                 # name -> BpfMap

    def __cinit__(self):
        self.link_fd = -1

    def __init__(self, ifindex=None, link_fd=None):
        self._maps = {}
        self.link_fd = os.dup(link_fd) if link_fd is not None else link_of(ifindex)
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        self.close()

    cdef _look(self):
        """Open the maps of the program, and read its features."""
        cdef bpf_link_info link
        cdef bpf_prog_info info
        cdef uint32_t[MAPS_MAX] numbers
        cdef uint32_t room = sizeof(link)
        memset(&link, 0, sizeof(link))
        if bpf_obj_get_info_by_fd(self.link_fd, &link, &room):
            raise OSError(errno, f"cannot ask about the attachment: {os.strerror(errno)}")
        cdef int program = bpf_prog_get_fd_by_id(link.prog_id)
        if program == -EPERM:
            raise OSError(EPERM, "CAP_SYS_ADMIN is needed to reach what another process has attached")
        if program < 0:
            raise OSError(-program, f"cannot reach the XDP program: {os.strerror(-program)}")
        room = sizeof(info)
        memset(&info, 0, sizeof(info))
        info.nr_map_ids, info.map_ids = MAPS_MAX, <uint64_t><size_t>numbers
        cdef int failed = bpf_obj_get_info_by_fd(program, &info, &room)
        close_fd(program)
        if failed:
            raise OSError(errno, f"cannot ask about the XDP program: {os.strerror(errno)}")
        name = info.name.decode()
        if name not in PROGRAMS:
            raise OSError(ENOENT, f"the XDP program {name!r} is not Underpass's")
        self.multi_buffer = PROGRAMS[name]
        for place in range(min(info.nr_map_ids, MAPS_MAX)):
            self._open(numbers[place])
        self._read_built_in()

    cdef _open(self, uint32_t number):
        cdef int fd = bpf_map_get_fd_by_id(number)
        if fd < 0:
            raise OSError(-fd, f"cannot reach a map of the XDP program: {os.strerror(-fd)}")
        found = BpfMap(fd)
        self._maps[RODATA if found.name.endswith(RODATA) else found.name] = found

    cdef _read_built_in(self):
        """Its features, if it is of this version."""
        cdef built_in built
        cdef bytes octets = self._maps[RODATA].lookup(bytes(4)) if RODATA in self._maps else b""
        memset(&built, 0, sizeof(built))
        memcpy(&built, <const char *>octets, min(sizeof(built), len(octets)))
        check_version(built.version)
        self.features = frozenset([name for name, bit in FEATURES.items() if built.features & bit])

    def maps(self):
        """Descriptors of all maps by name, which stay ours."""
        return {name: it.fd for name, it in self._maps.items() if name != RODATA}

    def map(self, str name not None):
        """A map, with a descriptor of its own. Raises KeyError where these features have none of that name."""
        return BpfMap(os.dup(self._maps[name].fd))

    def switch(self, features, dict entries=None, str measured=None):
        """Run the program with other features, and maps of other sizes. Raises OSError."""
        object = switch(self.link_fd, self, features, entries, measured)
        self._maps = {name: BpfMap(os.dup(fd)) for name, fd in object.maps().items()}
        self.features = object.features
        object.close()

    def close(self):
        """Leaves everything as it is. May be called twice."""
        if self.link_fd >= 0:
            close_fd(self.link_fd)
            self.link_fd = -1
        self._maps = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
