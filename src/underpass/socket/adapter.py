"""For `requests`: an adapter whose connections, with or without TLS, go by an interface."""

import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from underpass.socket.network import Network


def make_adapter(network: "Network", **options: Any) -> Any:
    """A `requests.adapters.HTTPAdapter`. Raises ImportError in one line where there is no requests."""
    try:
        adapters: Any = import_module("requests.adapters")
    except ImportError as error:
        raise ImportError(f"an adapter needs requests: pip install requests ({error})") from None
    urllib3: Any = import_module("urllib3")
    pools = {"http": pool_over(network, urllib3.HTTPConnectionPool),
             "https": pool_over(network, urllib3.HTTPSConnectionPool)}

    class StackAdapter(adapters.HTTPAdapter):       # type: ignore[misc]
        def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
            """Its own."""
            super().init_poolmanager(*arguments, **keywords)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
            """By the interface to the proxy."""
            manager = super().proxy_manager_for(proxy, **keywords)
            if not proxy.lower().startswith("socks"):
                manager.pool_classes_by_scheme = pools
            return manager

    return StackAdapter(**options)


def pool_over(network: "Network", kind: Any) -> Any:
    """A class of pools whose connections are a network's."""
    errors: Any = import_module("urllib3.exceptions")

    class StackConnection(kind.ConnectionCls):      # type: ignore[misc]
        def _new_conn(self) -> Any:
            host, where = self._dns_host.strip("[]"), f"Connection to {self.host}"
            try:
                return network.open((host, self.port), self.timeout, self.source_address,
                                    self.socket_options or ())
            except socket.gaierror as error:
                raise errors.NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise errors.ConnectTimeoutError(
                    self, f"{where} timed out. (connect timeout={self.timeout})") from error
            except OSError as error:
                raise errors.NewConnectionError(
                    self, f"Failed to establish a new connection: {error}") from error

    return type(kind.__name__, (kind,), {"ConnectionCls": StackConnection})
