"""Run the loaded XDP program on frames, without an interface: BPF_PROG_TEST_RUN."""

from underpass.xdp.loader import XdpProgram
from underpass.xdp.test_run import test_run

VERDICTS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")        # enum xdp_action (linux/bpf.h)


def verdict(program: XdpProgram, frame: bytes) -> str:
    """What the program does with a frame of at least 14 octets. Raises OSError where it cannot be run."""
    return VERDICTS[test_run(program.program_fd, frame)[0]]
