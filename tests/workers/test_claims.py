"""What a worker may claim: the ports that it holds in the kernel, and no others."""

import errno
import os
import socket

import pytest

from underpass.workers.claims import check_holder


def bound(host: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM,
          v6only: int = 0) -> tuple[int, int]:
    """A descriptor to give away, and its port."""
    with socket.socket(family, kind) as it:
        if family == socket.AF_INET6:
            it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        it.bind((host, 0))
        return os.dup(it.fileno()), it.getsockname()[1]


@pytest.mark.parametrize(("host", "claimed", "options"), [
    ("127.0.0.1", "127.0.0.1", {}), ("0.0.0.0", "0.0.0.0", {}),
    ("::1", "::1", {"family": socket.AF_INET6}), ("::", "::", {"family": socket.AF_INET6}),
    ("::", "0.0.0.0", {"family": socket.AF_INET6}),
])
def test_what_it_is_bound_to_is_its_own_and_the_socket_is_closed(host, claimed, options) -> None:
    holder, port = bound(host, **options)
    check_holder(holder, claimed, port)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(holder)


@pytest.mark.parametrize(("host", "claimed", "options"), [
    ("127.0.0.1", "0.0.0.0", {}), ("127.0.0.1", "10.0.0.2", {}),
    ("::", "0.0.0.0", {"family": socket.AF_INET6, "v6only": 1}),
    ("127.0.0.1", "127.0.0.1", {"kind": socket.SOCK_DGRAM}),
])
def test_what_it_is_not_bound_to_is_refused_by_name(host, claimed, options) -> None:
    holder, port = bound(host, **options)
    with pytest.raises(OSError, match=f"port {port} on {claimed} is not the worker's") as refused:
        check_holder(holder, claimed, port)
    assert refused.value.errno == errno.EACCES


def test_another_port_an_unbound_socket_and_none_at_all_are_refused() -> None:
    holder, port = bound("0.0.0.0")
    with socket.socket() as unbound:
        for claimed in (holder, os.dup(unbound.fileno()), -1):
            with pytest.raises(OSError, match="is not the worker's"):
                check_holder(claimed, "0.0.0.0", port ^ 1)
