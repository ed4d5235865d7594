def compile_filter(expression: str, snaplen: int = 262144) -> bytes:
    """A filter in libpcap's syntax as a classic BPF program for Ethernet frames; b"" for an empty one.

    Raises ValueError with what libpcap minds, and for what workers do not run: loops (`protochain`).
    """
