import pytest

from underpass.testing.netns_fixtures import make_veth, netns_allowed, veth

__all__ = ["family", "make_veth", "netns_allowed", "veth"]


@pytest.fixture(params=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)
