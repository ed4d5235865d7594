"""Which XDP program an interface runs, whoever attached it."""
from libc.stdint cimport uint32_t
from libc.string cimport memset
from posix.unistd cimport close as close_fd

import os

from underpass.xdp.libbpf cimport *


UNKNOWN = "?"                   # the name of a program that may not be asked for it


cdef str name_of_program(uint32_t program_id):
    """The kernel's name of a loaded program, or UNKNOWN."""
    cdef bpf_prog_info info
    cdef uint32_t room = sizeof(info)
    cdef int fd = bpf_prog_get_fd_by_id(program_id)
    if fd < 0:
        return UNKNOWN
    memset(&info, 0, sizeof(info))
    answered = bpf_obj_get_info_by_fd(fd, &info, &room) == 0
    close_fd(fd)
    return info.name.decode() if answered else UNKNOWN


def attached_program(uint32_t ifindex):
    """(id, name, mode) of the XDP program that an interface runs, or None. Raises OSError."""
    cdef bpf_xdp_query_opts found
    memset(&found, 0, sizeof(found))
    found.sz = sizeof(found)
    cdef int failed = bpf_xdp_query(ifindex, 0, &found)
    if failed:
        raise OSError(-failed, f"cannot ask for the XDP program of {ifindex}: {os.strerror(-failed)}")
    for program_id, mode in ((found.drv_prog_id, "native"), (found.skb_prog_id, "generic"),
                             (found.hw_prog_id, "offloaded")):
        if program_id:
            return program_id, name_of_program(program_id), mode
    return None
