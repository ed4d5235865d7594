from underpass.testing.netns_fixtures import make_veth, netns_allowed, veth

__all__ = ["make_veth", "netns_allowed", "veth"]
