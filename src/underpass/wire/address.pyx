"""IP addresses to and from text, for the control plane and for people."""
import ipaddress

from libc.string cimport memcpy


def split_scope(str text):
    """'fe80::1%eth0' -> ('fe80::1', 'eth0'); the scope is '' where there is none."""
    address, _, scope = text.partition("%")
    return address, scope


def octets_from_text(str text):
    """The 16 octets of an address, IPv4 as ::ffff:a.b.c.d. Any scope is left out. Raises ValueError."""
    if text == "":
        raise ValueError("an address is missing; give one like 10.0.0.1 or 2001:db8::1")
    try:
        parsed = ipaddress.ip_address(split_scope(text)[0])
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address; give one like 10.0.0.1 or 2001:db8::1") from None
    return b"\0" * 10 + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def text_from_octets(bytes octets, str scope=""):
    """The text of 16 octets, '%scope' behind an IPv6 address where a scope is given. Raises ValueError."""
    if len(octets) != 16:
        raise ValueError(f"an address has 16 octets, not {len(octets)}")
    parsed = ipaddress.IPv6Address(octets)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{parsed}%{scope}" if scope else str(parsed)


cdef int address_from_text(str text, Address *address) except -1:
    cdef bytes octets = octets_from_text(text)
    memcpy(address, <const char *>octets, sizeof(Address))
    return 0


cdef str address_to_text(const Address *address):
    return text_from_octets((<const char *>address)[:sizeof(Address)])
