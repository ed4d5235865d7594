"""What the tests of a server beside Linux ask of it."""

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import until


def get(served: Underpass, host: str = "", name: str = "") -> str:
    """What a new connection is answered; "" where it is not."""
    url = f"http://{host or served.pair.server.address}/{name}"
    return served.pair.client.run("curl", "-gsS", "--max-time", "3", url, check=False).stdout


def is_served(served: Underpass, host: str = "", within_s: float = 8) -> bool:
    return until(lambda: get(served, host) == "index", within_s)


def ours(served: Underpass, *words: str) -> None:
    """`ip WORDS` in the server's namespace."""
    served.pair.server.run("ip", *words)
