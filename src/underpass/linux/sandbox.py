"""Giving up what a worker does not need: its user, its capabilities, files, system calls. None of it can be
taken back.

    become(user)        an ordinary user, without capabilities
    no_new_privileges() no program that it starts can have more
    confine_files(...)  Landlock: of all files only those beneath these directories, and only to read
    confine_calls()     seccomp: of all system calls only those of a worker; all others fail with EPERM

Everything that has to be opened or imported is opened and imported before.
"""

import ctypes
import errno
import functools
import os
import pwd
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# <linux/landlock.h>; the system calls have the same numbers on all architectures.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILE_ACCESS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
NET_ACCESS = 3                      # ABI 4: bind and connect TCP sockets of the kernel
SCOPED = 3                          # ABI 6: abstract UNIX sockets, and signals, to processes outside

# What an interpreter that runs the loop needs; everything else is refused.
CALLS = """
read write readv writev pread64 preadv preadv2 pwrite64 close fstat newfstatat statx lseek openat openat2
getdents64 readlinkat fcntl dup dup3 eventfd2 ioctl ftruncate memfd_create poll ppoll epoll_wait epoll_pwait
epoll_ctl epoll_create1 sendto recvfrom sendmsg recvmsg accept4 getsockopt setsockopt getsockname
getpeername shutdown mmap munmap mprotect mremap madvise brk clone clone3 set_robust_list futex rseq
membarrier rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall clock_gettime
clock_nanosleep nanosleep gettimeofday getrandom getpid gettid getppid getuid geteuid getgid getegid
getgroups tgkill sched_yield sched_getaffinity prctl prlimit64 getrlimit getrusage uname sysinfo times exit
exit_group
""".split()  # noqa: SIM905
SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_EPERM = 0x00050000 | errno.EPERM


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def become(user: str) -> None:
    """Be this user for good. Raises OSError where it does not exist, or where we may not."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OSError(errno.EINVAL, f"there is no user {user}: name one that exists") from None
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        except PermissionError:
            why = f"to become {user}, a worker needs CAP_SETUID and CAP_SETGID"
            raise OSError(errno.EPERM, why) from None
    elif os.geteuid() != entry.pw_uid:
        raise OSError(errno.EPERM, f"only root can become {user}")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def no_new_privileges() -> None:
    """No program that this thread starts gains anything by being set-uid or the like."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def place(directory: str | os.PathLike[str]) -> int:
    """A descriptor of a directory, for `confine_files`: to be opened by whoever may still look at it."""
    return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def confine_files(readable: Iterable[int]) -> str | None:
    """Read nothing but what lies beneath these directories (see `place`; they are closed), and write nothing.

    Returns None, or why it could not be done: a kernel without Landlock. no_new_privs must be set.
    """
    places = list(readable)
    _seccomp()
    try:
        return _confine_files(places)
    finally:
        for descriptor in places:
            os.close(descriptor)


def _confine_files(places: list[int]) -> str | None:
    abi = LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return f"this kernel has no Landlock: {os.strerror(ctypes.get_errno())}"
    access = FILE_ACCESS_BY_ABI[max(known for known in FILE_ACCESS_BY_ABI if known <= abi)]
    rules = _Ruleset(access, NET_ACCESS if abi >= 4 else 0, SCOPED if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(LIBC.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(rules), size, 0), "landlock")
    try:
        for descriptor in places:
            rule = ctypes.byref(_PathBeneath(READ_FILE | READ_DIR, descriptor))
            added = LIBC.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
            _checked(added, "landlock")
        _checked(LIBC.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock")
    finally:
        os.close(ruleset)
    return None


@functools.cache
def _seccomp() -> ctypes.CDLL | None:
    """libseccomp, to be loaded while files can be opened."""
    try:
        return ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None


def confine_calls(calls: Iterable[str] = CALLS) -> str | None:
    """Make no system call but these. Returns None, or why it could not be done. no_new_privs must be set."""
    seccomp = _seccomp()
    if seccomp is None:
        return "libseccomp.so.2 is not installed (Debian: libseccomp2)"
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_syscall_resolve_name.restype = ctypes.c_int
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(SCMP_ACT_EPERM)))
    if not context:
        return "libseccomp cannot make a filter"
    try:
        for name in calls:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:             # this architecture has it
                _refused(seccomp.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), number, 0), name)
        _refused(seccomp.seccomp_load(context), "seccomp")
    finally:
        seccomp.seccomp_release(context)
    return None


def python_files() -> list[Path]:
    """Where modules of this interpreter lie that may yet be imported, as far as they are there."""
    places = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places |= {Path(sys.prefix), Path(sys.base_prefix) / "lib", Path(__file__).parent.parent}
    return sorted(place for place in places if place.is_dir())


def _prctl(option: int, value: int) -> None:
    _checked(LIBC.prctl(option, value, 0, 0, 0), "prctl")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _refused(result: int, what: str) -> None:
    """libseccomp returns a negative errno."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
