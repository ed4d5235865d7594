"""The XDP program on a veth pair, without a policy yet."""

from collections.abc import Iterator
from contextlib import contextmanager

from underpass.linux.netdev_features import netdev_features
from underpass.testing.namespaces import VethPair
from underpass.xdp.loader import XdpProgram


@contextmanager
def loaded(veth: VethPair, *claims: tuple[str, int]) -> Iterator[XdpProgram]:
    """Attached without any feature, as without a policy; the peer's end is down: no frame but a test's."""
    veth.peer.run("ip", "link", "set", veth.peer.interface, "down")
    with veth.ours.entered():
        program = XdpProgram(netdev_features(veth.ours.interface))
    with program:
        for address, port in claims:
            program.claim(address, port)
        yield program
