"""`underpass demo`: the whole path on one machine, in half a minute, each step checked.

Two namespaces stand for two hosts. In one, a directory is served over AF_XDP while Linux goes on using the
same interface and address; the other is an ordinary client of the kernel. Everything is gone afterwards.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from underpass.apps.bench.clients import Answer, wrk
from underpass.apps.bench.cost import Meter
from underpass.apps.bench.lab import CLIENT_CORE, SERVER_CORE, TUNING
from underpass.apps.bench.servers import Nginx, Server, Underpass
from underpass.linux.namespaces import Pair, until

PAGE = """<!doctype html>
<title>Underpass</title>
<h1>Served from user space</h1>
<p>This page came over AF_XDP. Linux answers everything else on this address.</p>
"""
KERNEL_PORT = 8080
SHOWN_LINES = 14


class StepError(Exception):
    """A step did not show what it was to show."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one server did under wrk."""

    requests_per_s: float
    cpu_us: float               # of its process, for each request
    p50_us: float
    p99_us: float


@dataclass(slots=True)
class Outcome:
    """What came of each step, for the closing screen and for programs."""

    steps: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    path: str = ""
    speeds: dict[str, Speed] = field(default_factory=dict)

    def report(self) -> dict[str, object]:
        """As one JSON document."""
        speeds = {name: {key: getattr(speed, key) for key in speed.__slots__}
                  for name, speed in self.speeds.items()}
        return {"steps": self.steps, "failed": self.failed, "path": self.path, "speeds": speeds}


class Demo:
    """The steps, on a pair of namespaces that is there already."""

    def __init__(self, pair: Pair, folder: Path, console: Console, seconds: float, cores: int) -> None:
        self.pair = pair
        self.console = console
        self.seconds = seconds
        self.scratch = folder
        self.root = folder / "site"
        self.root.mkdir()
        (self.root / "index.html").write_text(PAGE)
        (self.root / "64.txt").write_bytes(b"x" * 63 + b"\n")
        self.cores = (CLIENT_CORE, SERVER_CORE) if cores > 1 else (CLIENT_CORE, CLIENT_CORE)
        self.outcome = Outcome()
        self.server: Server | None = None

    def run(self) -> Outcome:
        """All steps in order. One that fails is said and counted, and the others go on where they can."""
        self.step("serve a directory over AF_XDP", self.serve)
        if self.server is not None:
            self.step("fetch a page, through the ordinary kernel of the other side", self.fetch)
            self.step("ping the same address: Linux answers", self.ping)
            self.step("a kernel service on another port of the same address", self.kernel_service)
            self.step("load it with wrk, and look at its connections", self.load)
            self.step("stop it: nothing stays attached", self.stop)
        self.step("nginx over the kernel's TCP, in the same place", self.nginx)
        return self.outcome

    def step(self, title: str, do: Callable[[], str]) -> None:
        """Run one step; what it returns is its result in a line."""
        number = len(self.outcome.steps) + len(self.outcome.failed) + 1
        self.console.print(f"\n[bold]{number}. {title}[/bold]")
        try:
            said = do()
        except (StepError, OSError, ValueError) as error:
            self.outcome.failed[title] = str(error)
            self.console.print(f"   [bold red]failed:[/] {escape(str(error))}")
        else:
            self.outcome.steps[title] = said
            self.console.print(f"   [green]ok:[/] {escape(said)}")

    def show(self, command: str, output: str) -> None:
        """A command as one would type it, and the first lines of what it wrote."""
        self.console.print(f"   [cyan]$ {escape(command)}[/]")
        lines = output.rstrip().splitlines()
        for line in lines[:SHOWN_LINES]:
            self.console.print(f"     {escape(line.rstrip())}", highlight=False, style="dim", crop=True)
        if len(lines) > SHOWN_LINES:
            self.console.print(f"     ... {len(lines) - SHOWN_LINES} lines more", style="dim")

    @property
    def url(self) -> str:
        """Where the directory is served."""
        return f"http://{self.pair.server.address}"

    def serve(self) -> str:
        """`underpass serve` in the server's namespace."""
        interface = self.pair.server.interface
        self.console.print(f"   [cyan]$ underpass serve site --interface {interface}[/]")
        self.server = Underpass(self.pair, self.root, self.scratch, self.cores[1])
        self.outcome.path = self.server.path()
        return f"{self.url} on {interface}: {self.outcome.path}"

    def fetch(self) -> str:
        """curl gets the very page."""
        got = self.pair.client.run("curl", "-sS", "-i", "--max-time", "5", f"{self.url}/").stdout
        self.show(f"curl -i {self.url}/", got)
        head, _, body = got.replace("\r\n", "\n").partition("\n\n")
        if not head.startswith("HTTP/1.1 200") or body != PAGE:
            raise StepError(f"not the page that is served: {(head.splitlines() or ['nothing came'])[0]}")
        return f"{len(body)} octets, the same as in the directory"

    def ping(self) -> str:
        """ICMP stays with Linux."""
        address = self.pair.server.address
        said = self.pair.client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", address).stdout
        self.show(f"ping -c 3 {address}", said)
        if " 0% packet loss" not in said:
            raise StepError("answers are missing")
        return "3 of 3 answered by Linux, past the XDP program"

    def kernel_service(self) -> str:
        """An ordinary socket, beside the claimed port."""
        service = self.pair.server.start(sys.executable, "-m", "http.server", str(KERNEL_PORT), "--directory",
                                         str(self.root))
        url = f"{self.url}:{KERNEL_PORT}/"
        asked = ("curl", "-sS", "-I", "--max-time", "2", url)
        try:
            if not until(lambda: self.pair.client.run(*asked, check=False).returncode == 0, 8):
                raise StepError(f"no answer from {url}")
            got = self.pair.client.run(*asked).stdout
        finally:
            self.pair.server.stop(service)
        self.show(f"curl -I {url}", got)
        if "SimpleHTTP" not in got:
            raise StepError("the answer did not come from the kernel's service")
        return f"port {KERNEL_PORT} is python -m http.server, on an ordinary socket"

    def load(self) -> str:
        """wrk, and `underpass ss` while it runs."""
        background = self.pair.client.start("wrk", "-t1", "-c10", "-d3s", f"{self.url}/64.txt",
                                            core=self.cores[0])
        try:
            rows = self.connections()
        finally:
            self.pair.client.stop(background)
        if len(rows) < 10:
            raise StepError(f"underpass ss shows {len(rows)} established connections of wrk's 10")
        speed = self.measure("underpass")
        return f"{speed.requests_per_s:,.0f} requests/s; underpass ss saw {len(rows)} connections"

    def connections(self) -> list[dict[str, object]]:
        """The established connections by `underpass ss`, once wrk's are there."""
        assert self.server is not None
        command = (sys.executable, "-m", "underpass.cli", "ss", "--pid", str(self.server.process.pid))
        rows: list[dict[str, object]] = []

        def seen() -> bool:
            rows[:] = [row for row in json.loads(self.pair.server.run(*command, "--json").stdout)
                       if row["state"] == "ESTABLISHED"]
            return len(rows) >= 10

        until(seen, 2)
        self.show("underpass ss", self.pair.server.run(*command).stdout)
        return rows

    def measure(self, name: str) -> Speed:
        """wrk -c50 against the running server."""
        assert self.server is not None
        url = f"{self.url}/64.txt"
        meter = Meter(self.server.process.pid, self.cores[1], self.pair.server.interface)
        before = meter.read()
        answer: Answer = wrk(self.pair.client, url, self.scratch, connections=50, seconds=self.seconds,
                             core=self.cores[0])
        used = meter.read() - before
        if answer.errors:
            raise StepError(f"wrk counted {answer.errors} errors")
        speed = Speed(answer.requests_per_s, used.process_ns / answer.requests / 1e3, answer.p50_us,
                      answer.p99_us)
        self.show(f"wrk -t1 -c50 -d{self.seconds:g}s {url}", "\n".join((
            f"{answer.requests} requests in {answer.seconds:.2f} s: {speed.requests_per_s:,.0f} a second",
            f"latency: half within {speed.p50_us:.0f} us, 99 % within {speed.p99_us:.0f} us",
            f"process CPU for each request: {speed.cpu_us:.1f} us")))
        self.outcome.speeds[name] = speed
        return speed

    def stop(self) -> str:
        """After SIGTERM the interface is as it was."""
        assert self.server is not None
        status = self.server.stop()
        self.server = None
        interface = self.pair.server.interface
        shown = json.loads(self.pair.server.run("ip", "-j", "link", "show", "dev", interface).stdout)
        if "xdp" in shown[0]:
            raise StepError(f"an XDP program is still attached to {interface}")
        if status not in (0, 143, -15):
            raise StepError(f"underpass serve ended with status {status}")
        return f"{interface} carries no XDP program any more"

    def nginx(self) -> str:
        """The same load on nginx, one worker."""
        self.server = Nginx(self.pair, self.root, self.scratch, self.cores[1])
        try:
            speed = self.measure("nginx")
        finally:
            self.server.stop()
            self.server = None
        return f"{speed.requests_per_s:,.0f} requests/s"


def escape(text: str) -> str:
    """Text that rich shows as it is."""
    return text.replace("[", "\\[")


def demo(console: Console, seconds: float, cores: int) -> Outcome:
    """Make the namespaces, run the steps, clean up. Raises OSError where it cannot begin."""
    with tempfile.TemporaryDirectory(prefix="underpass-demo-") as folder:
        Path(folder).chmod(0o755)
        with Pair(interfaces=("client0", "server0")) as pair:
            for side in (pair.client, pair.server):
                for name, value in TUNING.items():
                    side.write(f"/proc/sys/net/{name}", value)
            console.print(f"namespaces {pair.client.name} ({pair.client.address}) and {pair.server.name} "
                          f"({pair.server.address}), joined by a veth pair", highlight=False)
            outcome = Demo(pair, Path(folder), console, seconds, cores).run()
    left = [side.name for side in (pair.client, pair.server) if Path(f"/run/netns/{side.name}").exists()]
    if left:
        outcome.failed["clean up"] = f"{', '.join(left)} could not be deleted"
    else:
        outcome.steps["clean up"] = "both namespaces are gone, and with them the veth pair"
    return outcome


def closing(outcome: Outcome, console: Console) -> None:
    """What was shown, in a few lines."""
    console.print()
    console.rule("[bold]what was shown[/]", align="left")
    if len(outcome.speeds) > 1:
        console.print(comparison(outcome))
    for title, said in outcome.failed.items():
        console.print(f"[bold red]failed:[/] {escape(title)}: {escape(said)}", highlight=False)
    if not outcome.failed:
        console.print("HTTP on port 80 came from user space; ping and the other port were Linux's, on the "
                      "same address.", highlight=False)
    console.print(f"active path: {escape(outcome.path or 'none')}", highlight=False)
    if "clean up" in outcome.steps:
        console.print(f"{outcome.steps['clean up']}; this machine is as it was.", highlight=False)


def comparison(outcome: Outcome) -> Table:
    """Both servers side by side."""
    ours, peer = outcome.speeds["underpass"], outcome.speeds["nginx"]
    table = Table("wrk -c50, 64-byte file", "underpass", "nginx", "ratio")
    for title, name, form in (("requests/s", "requests_per_s", ",.0f"), ("p50, us", "p50_us", ".0f"),
                              ("p99, us", "p99_us", ".0f"), ("process CPU/request, us", "cpu_us", ".2f")):
        one, other = getattr(ours, name), getattr(peer, name)
        table.add_row(title, format(one, form), format(other, form), f"{one / other:.2f}" if other else "-")
    return table
