from asyncio import sslproto

class TlsRecords:
    """Reads and writes records for an SSLProtocol."""

class SSLTransport(sslproto._SSLProtocolTransport): ...

class TlsProtocol(TlsRecords, sslproto.SSLProtocol):
    """asyncio's SSLProtocol, with its hot path compiled."""
