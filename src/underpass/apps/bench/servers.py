"""The servers that are compared, each with one worker, started in the server's namespace."""

import sys
from pathlib import Path

from underpass.apps.bench.cost import family
from underpass.linux.namespaces import CommandError, Pair, until

NGINX_CONF = """
daemon off;
worker_processes {workers};
worker_rlimit_nofile {descriptors};
user root;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx.error;
events {{ worker_connections {descriptors}; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 10000000;
  keepalive_timeout 3600s;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  server {{ listen 80 backlog=4096; root {root}; }}
}}
"""
START_S = 10.0


class Server:
    """A running server: its process, and the path that its packets take."""

    name = ""

    def __init__(self, pair: Pair, root: Path, scratch: Path, core: int | None) -> None:
        self.pair = pair
        self.root = root
        self.scratch = scratch
        self.core = core
        self.log = scratch / f"{self.name}.log"
        with self.log.open("w") as output:
            self.process = pair.server.start(*self.command(), core=core, output=output)
        self.wait()

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def path(self) -> str:
        """The active path in words."""
        raise NotImplementedError

    def wait(self) -> None:
        """Return when it answers; raise CommandError with its own last words when it does not."""
        def answers() -> bool:
            if self.process.poll() is not None:
                raise CommandError(f"{self.name} did not start: {self.last_words()}")
            asked = self.pair.client.run("curl", "-sS", "--max-time", "1", "-o", "/dev/null", self.url(""),
                                         check=False)
            return asked.returncode == 0

        if not until(answers, START_S):
            raise CommandError(f"{self.name} does not answer on {self.url('')}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it wrote."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def url(self, name: str) -> str:
        """The URL of a file in its directory."""
        return f"http://{self.pair.server.address}/{name}"

    def pids(self) -> list[int]:
        """Its processes."""
        return family(self.process.pid)

    def stop(self) -> int:
        """End it; returns its status."""
        return self.pair.server.stop(self.process)


class Nginx(Server):
    """nginx over the kernel's TCP."""

    name = "nginx"
    descriptors = 20000
    workers = 1

    def command(self) -> list[str]:
        """No access log, as many descriptors as this machine may have."""
        conf = self.scratch / "nginx.conf"
        conf.write_text(NGINX_CONF.format(scratch=self.scratch, root=self.root, descriptors=self.descriptors,
                                          workers=self.workers))
        return ["nginx", "-c", str(conf), "-e", str(self.scratch / "nginx.error")]

    def path(self) -> str:
        """The kernel's."""
        return "kernel TCP"


class KernelSockets(Server):
    """Our HTTP server's parser, files and answers over Linux's sockets, in an epoll loop."""

    name = "kernel sockets"
    cores: tuple[int, ...] = ()             # a process on each; none: one process

    def command(self) -> list[str]:
        """Its processes share the port."""
        return [sys.executable, "-m", "underpass.apps.kernel_serve", str(self.root), self.pair.server.address,
                "80", *map(str, self.cores)]

    def wait(self) -> None:
        """Return when all of its processes listen: one answers before."""
        super().wait()
        if not until(lambda: self.listening() >= len(self.cores), START_S):
            raise CommandError(f"of {self.name} {self.listening()} processes listen, not {len(self.cores)}")

    def listening(self) -> int:
        """Sockets that share its port."""
        return len(self.pair.server.run("ss", "-Hltn", "sport = :80").stdout.splitlines())

    def path(self) -> str:
        """The kernel's."""
        return "kernel TCP"


class Underpass(Server):
    """`underpass serve`."""

    name = "underpass"
    options: tuple[str, ...] = ()

    @classmethod
    def with_options(cls, *more: str) -> "type[Underpass]":
        """The same server, told more."""
        return type(cls.__name__, (cls,), {"options": (*cls.options, *more)})

    def command(self) -> list[str]:
        """One worker on the server's interface."""
        return [sys.executable, "-m", "underpass.cli", "serve", str(self.root), "--interface",
                self.pair.server.interface, *self.options]

    def wait(self) -> None:
        """Return when all of its workers serve: the first one answers before."""
        super().wait()
        if not until(lambda: "serving " in self.log.read_text(errors="replace"), START_S):
            raise CommandError(f"{self.name} does not say that it serves: {self.last_words()}")

    def path(self) -> str:
        """As it says itself when it starts."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("path: "):
                return line.removeprefix("path: ")
        raise CommandError("underpass serve does not say which path is active")


class UnderpassBusyPoll(Underpass):
    """`underpass serve --busy-poll`."""

    name = "underpass --busy-poll"
    options = ("--busy-poll",)


class Dpdk(Underpass):
    """`underpass serve --io dpdk`."""

    name = "underpass --io dpdk"
    options = ("--io", "dpdk")


class UnderpassNoOffload(Underpass):
    """`underpass serve --no-checksum-offload`."""

    name = "underpass, no offload"
    options = ("--no-checksum-offload",)
