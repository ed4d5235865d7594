def split_scope(text: str) -> tuple[str, str]:
    """'fe80::1%eth0' -> ('fe80::1', 'eth0'); the scope is '' where there is none."""

def octets_from_text(text: str) -> bytes:
    """The 16 octets of an address, IPv4 as ::ffff:a.b.c.d. Any scope is left out. Raises ValueError."""

def text_from_octets(octets: bytes, scope: str = "") -> str:
    """The text of 16 octets, '%scope' behind an IPv6 address where a scope is given. Raises ValueError."""
