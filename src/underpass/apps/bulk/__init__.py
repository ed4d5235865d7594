"""Octets in bulk: a native source and sink, the same over the kernel's sockets, and a process for each.

A client begins with a head of 17 octets: how many octets it will send, how many it wants (both 64 bits), and
flags. Both streams repeat the same pattern, so that each end knows what must come. Either end closes its
stream after its last octet, and the connection is over when both have.
"""
