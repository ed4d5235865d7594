"""A Python server on each of three event loops, in the server's namespace."""

import sys
from pathlib import Path

from underpass.apps.bench.python_programs import NATIVE
from underpass.apps.bench.servers import Server
from underpass.linux.namespaces import CommandError, run

PORT = 8000


def certificate(folder: Path) -> Path:
    """A certificate and its key in one file."""
    file = folder / "server.pem"
    if not file.exists():
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "9", "-subj",
            "/CN=bench")
        file.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return file


class PythonServer(Server):
    """`program` of `python_programs` on `loop`."""

    program = ""
    loop = ""

    def command(self) -> list[str]:
        """One process on the server's interface."""
        words = [sys.executable, "-m", "underpass.apps.bench.python_programs", self.program, self.loop,
                 self.pair.server.interface, self.pair.server.address, str(PORT)]
        return [*words, str(certificate(self.scratch))] if self.program == "tls" else words

    def url(self, name: str) -> str:
        """By TLS where the program does."""
        scheme = "https" if self.program == "tls" else "http"
        return f"{scheme}://{self.pair.server.address}:{PORT}/{name}"

    def wait(self) -> None:
        """Until its port answers."""
        from underpass.linux.namespaces import until

        host = self.pair.server.address
        probe = f"import socket; socket.create_connection(({host!r}, {PORT}), 1).close()"

        def answers() -> bool:
            if self.process.poll() is not None:
                raise CommandError(f"{self.name} did not start: {self.last_words()}")
            return self.pair.client.run(sys.executable, "-c", probe, check=False).returncode == 0

        if not until(answers, 20):
            raise CommandError(f"{self.name} does not answer: {self.last_words()}")

    def path(self) -> str:
        """What it says itself, or the kernel's."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("path: "):
                return line.removeprefix("path: ")
        if self.loop in ("underpass", NATIVE):
            raise CommandError("the loop does not say which path is active")
        return "kernel TCP"


LOOPS = ("underpass", "uvloop", "asyncio")


def servers(program: str, *more: str) -> tuple[type[PythonServer], ...]:
    """The program on each loop, and on those named besides; they are named by it."""
    return tuple(type(f"{program}_{loop}", (PythonServer,), {"program": program, "loop": loop, "name": loop})
                 for loop in (*LOOPS, *more))
