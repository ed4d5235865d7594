"""Run the loaded XDP program on frames, without an interface: BPF_PROG_TEST_RUN."""

from underpass.xdp.loader import XdpProgram
from underpass.xdp.test_run import test_run

VERDICTS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")        # enum xdp_action (linux/bpf.h)


def run(program: XdpProgram, frame: bytes) -> tuple[str, bytes]:
    """What the program does with a frame of at least 14 octets, and what becomes of it. Raises OSError."""
    said, _, left = test_run(program.program_fd, frame)
    return VERDICTS[said], left


def verdict(program: XdpProgram, frame: bytes) -> str:
    """What the program does with a frame of at least 14 octets. Raises OSError where it cannot be run."""
    return run(program, frame)[0]
