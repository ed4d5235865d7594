"""TLS by asyncio's own protocol over transports of the stack."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, exactly, serving
from tests.aio.test_loop import PORT, Accepting, Recorder, echo, running, until


def test_a_kernel_client_and_a_client_of_ours_speak_tls_to_us(site: Site, certificates: Path) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT, ssl=serving(certificates)):
            client = await site.connected(PORT)
            context = asking(certificates)
            context.set_alpn_protocols(["http/1.1"])
            wrapped = await asyncio.to_thread(context.wrap_socket, client, server_hostname=site.host)
            wrapped.sendall(b"secret")
            assert await exactly(wrapped, 6) == b"secret"
            assert wrapped.selected_alpn_protocol() == "http/1.1"
            wrapped.close()
            reader, writer = await asyncio.open_connection(site.host, PORT, ssl=context)
            writer.write(b"x" * 1_000_000)
            assert await reader.readexactly(1_000_000) == b"x" * 1_000_000
            assert writer.get_extra_info("cipher") and writer.get_extra_info("peercert")
            assert writer.get_extra_info("peername") == (site.host, PORT)
            writer.close()
            await writer.wait_closed()
    site.run(main())


def test_client_certificates_are_asked_for(site: Site, certificates: Path) -> None:
    async def main() -> None:
        seen: asyncio.Queue[Any] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.put_nowait(writer.get_extra_info("peercert")["subject"])
            writer.close()

        async with await asyncio.start_server(serve, site.host, PORT, ssl=serving(certificates, asks=True)):
            context = asking(certificates)
            context.load_cert_chain(certificates / "client.pem")
            _, writer = await asyncio.open_connection(site.host, PORT, ssl=context)
            assert await seen.get() == ((("commonName", "client"),),)
            writer.close()
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                reader, writer = await asyncio.open_connection(site.host, PORT, ssl=asking(certificates))
                assert await reader.read() == b""
            assert seen.empty()
    site.run(main())


def test_sessions_are_resumed_by_number(site: Site, certificates: Path) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT, ssl=serving(certificates)):
            command = ["openssl", "s_client", "-connect", f"{site.host}:{PORT}", "-reconnect", "-no_ticket",
                       "-tls1_2"]
            said = await asyncio.to_thread(
                lambda: site.pair.client.run(*command, text="", check=False).stdout)
            assert said.count("Reused, TLSv1.2") == 5
    site.run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions_are_resumed_by_ticket(site: Site, certificates: Path, tmp_path: Path, version: str) -> None:
    """RFC 5077 3.1, and RFC 8446 2.2, where the ticket comes behind the handshake."""
    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"said " + await reader.readline())
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(line, site.host, PORT, ssl=serving(certificates)):
            for way, kind in (("-sess_out", "New"), ("-sess_in", "Reused")):
                command = ["openssl", "s_client", "-connect", f"{site.host}:{PORT}", "-ign_eof",
                           f"-tls{version.replace('.', '_')}", way, str(tmp_path / "session")]
                done = await asyncio.to_thread(
                    lambda command=command: site.pair.client.run(*command, text="hello\n", check=False))
                said = done.stdout
                assert f"{kind}, TLSv{version}" in said and "said hello" in said
            assert running().nic.stack().stats()["tcp"]["passive_opens"] == 2
    site.run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda it: it.name)
def test_the_name_that_a_client_asks_for_chooses_the_certificate(
        site: Site, certificates: Path, version: ssl.TLSVersion) -> None:
    """RFC 6066 3: the callback gives the connection another context."""
    context, other = serving(certificates), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.load_cert_chain(certificates / "client.pem")

    def choose(sslobj: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name == "other.example":
            sslobj.context = other

    context.sni_callback = choose               # type: ignore[assignment]
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.maximum_version = version

    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT, ssl=context):
            for name, file in (("localhost", "server"), ("other.example", "client")):
                expected = ssl.PEM_cert_to_DER_cert((certificates / f"{file}.crt").read_text())
                with await site.connected(PORT) as client, await asyncio.to_thread(
                        trusting.wrap_socket, client, server_hostname=name) as wrapped:
                    assert wrapped.version() == version.name.replace("_", ".")
                    assert wrapped.getpeercert(binary_form=True) == expected
                _, writer = await asyncio.open_connection(site.host, PORT, ssl=trusting, server_hostname=name)
                assert writer.get_extra_info("ssl_object").getpeercert(True) == expected
                writer.close()
    site.run(main())


@pytest.mark.parametrize("dribbles", [False, True])
def test_a_handshake_has_its_time(site: Site, certificates: Path, dribbles: bool) -> None:
    """A client that sends nothing, or a hello octet by octet, is let go of."""
    async def main() -> None:
        loop = running()
        async with await loop.create_server(Recorder, site.host, PORT, ssl=serving(certificates),
                                            ssl_handshake_timeout=0.3):
            client = await site.connected(PORT)
            sending = asyncio.create_task(dribble(client)) if dribbles else None
            with contextlib.suppress(ConnectionResetError):
                assert await exactly(client, 1) == b""
            if sending is not None:
                sending.cancel()
            client.close()
            await until(lambda: {row["state"] for row in loop.nic.stack().connections()}
                        <= {"LISTEN", "TIME-WAIT"})
    site.run(main())


async def dribble(client: socket.socket) -> None:
    """The beginning of a record that never ends."""
    with contextlib.suppress(OSError):
        for octet in b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + bytes(10_000):
            client.sendall(bytes([octet]))
            await asyncio.sleep(0.02)


def test_a_shutdown_has_its_time(site: Site, certificates: Path) -> None:
    """A client that neither answers close_notify (RFC 8446 6.1) nor closes is let go of."""
    async def main() -> None:
        loop, accepting = running(), Accepting()
        async with await loop.create_server(accepting, site.host, PORT, ssl=serving(certificates),
                                            ssl_shutdown_timeout=0.3):
            client = await site.connected(PORT)
            wrapped = await asyncio.to_thread(
                asking(certificates).wrap_socket, client, server_hostname=site.host)
            protocol = await accepting.made.get()
            await until(lambda: "made" in protocol.told)
            protocol.transport.close()
            assert isinstance(await asyncio.wait_for(protocol.lost, 10), TimeoutError)
            await until(lambda: [row["state"] for row in loop.nic.stack().connections()
                                 if row["state"] not in ("LISTEN", "FIN-WAIT-2")] == [])
            wrapped.close()
    site.run(main())


def test_certificates_are_reloaded_while_running(site: Site, certificates: Path) -> None:
    async def main() -> None:
        context = serving(certificates)
        async with await asyncio.start_server(echo, site.host, PORT, ssl=context):
            for name in ("server", "client"):
                context.load_cert_chain(certificates / f"{name}.pem")
                trusting = ssl.create_default_context(cafile=str(certificates / f"{name}.crt"))
                _, writer = await asyncio.open_connection(site.host, PORT, ssl=trusting)
                assert writer.get_extra_info("peercert")["subject"] == ((("commonName", name),),)
                writer.close()
    site.run(main())


def test_start_tls_on_both_sides(site: Site, certificates: Path) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(serving(certificates))
            writer.write(b"echo " + await reader.readline())
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, site.host, PORT):
            reader, writer = await asyncio.open_connection(site.host, PORT)
            assert await reader.readline() == b"go\n"
            await writer.start_tls(asking(certificates), server_hostname=site.host)
            writer.write(b"hidden\n")
            assert await reader.readline() == b"echo hidden\n"
            writer.close()
    site.run(main())


def test_a_peer_that_resets_within_the_handshake_leaves_nothing(site: Site, certificates: Path) -> None:
    hello = ssl.MemoryBIO()
    sslobj = asking(certificates).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="198.18.0.2")
    with contextlib.suppress(ssl.SSLWantReadError):
        sslobj.do_handshake()
    octets = hello.read()

    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT, ssl=serving(certificates)):
            for cut in (0, 1, 5, 100, len(octets)):
                client = await site.connected(PORT)
                client.sendall(octets[:cut])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            async with asyncio.timeout(10):
                while [row for row in running().nic.stack().connections() if row["state"] != "LISTEN"]:
                    await asyncio.sleep(0.01)
    site.run(main())


def test_sendfile_over_tcp_and_tls(site: Site, certificates: Path, tmp_path: Path) -> None:
    octets = bytes(range(256)) * 4000
    file = tmp_path / "file"
    file.write_bytes(octets)

    async def main() -> None:
        for context in (None, serving(certificates)):
            accepting = Accepting()
            async with await running().create_server(accepting, site.host, PORT, ssl=context):
                reader, writer = await asyncio.open_connection(
                    site.host, PORT, ssl=None if context is None else asking(certificates))
                protocol: Recorder = await accepting.made.get()
                while not hasattr(protocol, "transport"):
                    await asyncio.sleep(0.01)
                with file.open("rb") as source:
                    sent = asyncio.create_task(running().sendfile(protocol.transport, source))
                    assert await reader.readexactly(len(octets)) == octets
                    assert await sent == len(octets)
                protocol.transport.close()
                writer.close()
    site.run(main())


def records(context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client whose octets the test moves."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing, server_hostname="localhost"), incoming, outgoing


def handshake(sock: socket.socket, it: ssl.SSLObject, incoming: ssl.MemoryBIO,
              outgoing: ssl.MemoryBIO) -> None:
    while True:
        try:
            it.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))
        else:
            return sock.sendall(outgoing.read())


class Buffered(asyncio.BufferedProtocol):
    """Takes what comes into a buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(700)
        self.received = b""
        self.end: asyncio.Future[None] = running().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:       # asyncio's own wants a memoryview
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def connection_lost(self, exc: BaseException | None) -> None:
        self.end.set_result(None)


@pytest.mark.parametrize("step", [1, 700, 1 << 20])
@pytest.mark.parametrize("buffered", [False, True])
def test_records_are_whole_however_their_octets_come(site: Site, certificates: Path, step: int,
                                                     buffered: bool) -> None:
    """An octet at a time, in parts, and many records at once with the end of the stream behind them."""
    async def main() -> None:
        made: list[Any] = []

        def factory() -> Any:
            made.append(Buffered() if buffered else Recorder())
            return made[-1]

        async with await running().create_server(factory, site.host, PORT, ssl=serving(certificates)):
            client = await site.connected(PORT)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            it, incoming, outgoing = records(asking(certificates))
            await asyncio.to_thread(handshake, client, it, incoming, outgoing)
            sent = b""
            for number in range(3 if step == 1 else 60):
                piece = bytes([number]) * (1 + number * 37 % 16384 if step > 1 else 40)
                it.write(piece)
                sent += piece
            with contextlib.suppress(ssl.SSLWantReadError):
                it.unwrap()                 # close_notify
            octets = outgoing.read()

            def send() -> None:
                for at in range(0, len(octets), step):
                    client.sendall(octets[at:at + step])

            await asyncio.to_thread(send)
            if buffered:
                await made[0].end
                assert made[0].received == sent
            else:
                assert await made[0].lost is None
                assert made[0].octets == sent and made[0].told[-2:] == ["eof", "lost"]
            client.close()
    site.run(main())


def test_tls_is_paused_both_ways(site: Site, certificates: Path) -> None:
    """What a paused protocol does not read waits; what a peer does not read pauses the protocol's writing."""
    class Flow(Recorder):
        def pause_writing(self) -> None:
            self.told.append("pause")

        def resume_writing(self) -> None:
            self.told.append("resume")

    async def main() -> None:
        with_tls = Accepting(Flow)
        async with await running().create_server(with_tls, site.host, PORT, ssl=serving(certificates)):
            client = await site.connected(PORT)
            wrap = asking(certificates).wrap_socket
            wrapped = await asyncio.to_thread(wrap, client, server_hostname=site.host)
            wrapped.settimeout(20)
            server = await with_tls.made.get()
            await until(lambda: "made" in server.told)
            server.transport.pause_reading()
            await asyncio.to_thread(wrapped.sendall, b"x" * 200_000)
            await asyncio.sleep(0.1)
            assert server.received == 0
            server.transport.resume_reading()
            await until(lambda: server.received == 200_000)
            written = 0
            while "pause" not in server.told:
                server.transport.write(b"y" * 1_000_000)
                server.transport.write(b"")
                server.transport.write(memoryview(b"z" * 1000))
                written += 1_001_000
            assert len(await exactly(wrapped, written)) == written
            await until(lambda: "resume" in server.told)
            wrapped.close()
            await server.lost
    site.run(main())


def test_what_a_closed_tls_transport_is_given_is_refused_as_ever(site: Site, certificates: Path) -> None:
    async def main() -> None:
        accepting = Accepting(Recorder)
        async with await running().create_server(accepting, site.host, PORT, ssl=serving(certificates)):
            _, writer = await asyncio.open_connection(site.host, PORT, ssl=asking(certificates))
            server = await accepting.made.get()
            await until(lambda: "made" in server.told)
            with pytest.raises(TypeError, match="expecting a bytes-like instance"):
                server.transport.write("text")      # type: ignore[arg-type]
            server.transport.close()
            server.transport.write(b"nobody gets it")
            assert await server.lost is None
            server.transport.close()
            with pytest.raises(AttributeError):
                server.transport.write(b"there is no protocol any more")
            writer.close()
    site.run(main())
