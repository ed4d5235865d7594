"""Underpass beside Linux's TCP on paths that lose, delay, queue and reorder: `underpass bench recovery`.

The other end is always Linux, with the same congestion control and the same buffers; what changes within a
round is the end under test, on the same path with the same seed.
"""

from collections.abc import Callable, Iterable
from typing import Any

from underpass.apps.bench.lab import CLIENT_CORE, SERVER_CORE, machine
from underpass.apps.bench.paths import FAIRNESS_S, PATHS, PLOTTED, UNITS, PathRow
from underpass.apps.bench.peers import Series, by_name, goals
from underpass.apps.bench.rows import Figures
from underpass.apps.bulk.host import Host
from underpass.apps.relay.path import BACKLOG, RelayedPair
from underpass.linux.namespaces import Pair, until

Say = Callable[[str], None]
KINDS = {"underpass": "ours", "linux": "kernel"}
PORT = 7
CONGESTION = "cubic"
BUFFER_BYTES = 4 << 20
LIMIT_S = 60.0          # for one transfer; what came until then counts
HOW = (f"both ends: {CONGESTION}, buffers of {BUFFER_BYTES >> 20} MiB each way; the time from connecting to "
       f"the stream's last octet, or {LIMIT_S:g} s; rules and delays hold in both directions")


def chosen(only: Iterable[str]) -> list[PathRow]:
    """The rows by name, all of them for none."""
    return by_name(PATHS, only)


def measure(rows: list[PathRow], rounds: int, say: Say) -> dict[str, dict[str, Series]]:
    """All rows, `rounds` times; in each round both sides take turns, in changing order, on one path."""
    results = {row.name: {name: Series(name) for name in KINDS} for row in rows}
    for turn in range(rounds):
        for row in rows:
            names = list(KINDS) if turn % 2 == 0 else list(reversed(KINDS))
            say(f"round {turn + 1}/{rounds}: {row.name}, {' then '.join(names)}")
            one_round(row, names, turn, results[row.name], say)
    return results


def one_round(row: PathRow, names: list[str], turn: int, series: dict[str, Series], say: Say) -> None:
    """One row once. A failure is a result too: it is kept and said."""
    try:
        with Pair() if row.rules is None else RelayedPair() as pair:
            if row.rules is None:
                without_offloads(pair)
            found = shares(row, pair, names, turn) if row.flows > 1 else in_turns(row, pair, names, turn)
            for name, (path, figures) in found.items():
                series[name].path = path
                series[name].rounds.append({kind: figures[kind] for kind in row.figures if kind in figures})
    except (OSError, ValueError, RuntimeError) as error:
        for name in names:
            series[name].failures.append(str(error))
        say(f"  failed: {error}")


def without_offloads(pair: Pair) -> None:
    """As with the relay, but for checksums: the veth pair leaves them out on both sides."""
    for side in (pair.client, pair.server):
        side.offload(tso=False, gso=False, gro=False)
        side.run("tc", "qdisc", "add", "dev", side.interface, "root", "pfifo", "limit", str(BACKLOG))


def host(pair: Pair, name: str, at_server: bool) -> Host:
    """A bulk host at one end."""
    return Host(pair.server if at_server else pair.client, KINDS[name],
                core=SERVER_CORE if at_server else CLIENT_CORE,
                congestion=CONGESTION, buffer_bytes=BUFFER_BYTES, verify=False)


Found = dict[str, tuple[str, Figures]]


def in_turns(row: PathRow, pair: Pair, names: list[str], turn: int) -> Found:
    """One after the other on the same path."""
    found: Found = {}
    client = host(pair, "linux", at_server=False)
    for name in names:
        server = host(pair, name, at_server=True)
        path = str(server.ask("serve", port=PORT)["path"])
        figures: Figures = {}
        for way in ("down", "up"):
            figures |= transfer(row, pair, (client, server), way, 2 * turn + (way == "up") + 1)
        found[name] = (path, figures)
        server.stop()
    return found


def transfer(row: PathRow, pair: Pair, ends: tuple[Host, Host], way: str, seed: int) -> Figures:
    """One transfer between client and server: "down", which the server under test sends, or "up"."""
    client, server = ends
    before = sent_again(server)
    if isinstance(pair, RelayedPair):
        pair.start(row.rules or {}, row.rules or {}, seed)
    done = client.ask("transfer", address=pair.server.address, port=PORT, timeout_s=LIMIT_S, wait=True,
                      **{way: row.octets})
    if done["failed"]:
        raise RuntimeError(f"{row.name}, {way}: {done['error']}")
    moved = done["octets_in"] if way == "down" else done["octets_out"]
    figures = {f"{way}_mbit": moved * 8 / done["seconds"] / 1e6}
    if isinstance(pair, RelayedPair):
        lane = pair.stats()["leftward" if way == "down" else "rightward"]
        figures[f"{way}_queue_ms"] = lane["queue_mean_ms"]
    until(lambda: server.ask("results")["open"] == 0, 2)
    again = {name: value - before[name] for name, value in sent_again(server).items()}
    figures[f"{way}_again"] = 100 * again["again"] / max(again["sent"], 1)
    figures[f"{way}_timeouts"] = again["timeouts"]
    return figures


def sent_again(server: Host) -> dict[str, float]:
    """Segments that the server sent, those sent again, and its timeouts (Linux does not tell them)."""
    results = server.ask("results")
    if server.kind == "kernel":
        info = results["info"]
        return {"sent": info.get("data_segs_out", 0), "again": info.get("total_retrans", 0), "timeouts": 0}
    tcp = results["tcp"]
    return {"sent": tcp["segments_out"], "again": tcp["retransmits"], "timeouts": tcp["timeouts"]}


def shares(row: PathRow, pair: Pair, names: list[str], turn: int) -> Found:
    """Flows of both sides at a time, from one host; each side's share of what arrives."""
    assert isinstance(pair, RelayedPair)
    pair.start(row.rules or {}, row.rules or {}, turn + 1)
    servers = {name: host(pair, name, at_server=True) for name in names}
    ports = {name: PORT + at for at, name in enumerate(names)}
    paths = {name: str(server.ask("serve", port=ports[name])["path"]) for name, server in servers.items()}
    clients = {name: host(pair, "linux", at_server=False) for name in names}
    for name, client in clients.items():
        client.tell("transfer", address=pair.server.address, port=ports[name], connections=row.flows,
                    at_a_time=row.flows, down=1 << 40, timeout_s=FAIRNESS_S)
    came = {name: client.hear()["octets_in"] for name, client in clients.items()}
    return {name: (paths[name], {"share": 100 * came[name] / max(sum(came.values()), 1)}) for name in names}


def report(results: dict[str, dict[str, Series]], rounds: int) -> dict[str, Any]:
    """Everything as one JSON document, of the shape that `bench peers` has."""
    by_name = {row.name: row for row in PATHS}
    return {
        "machine": machine(), "how": HOW, "rounds": rounds, "length": f"{rounds} rounds", "units": UNITS,
        "plotted": PLOTTED, "rows": [row_report(by_name[name], series) for name, series in results.items()],
    }


def row_report(row: PathRow, series: dict[str, Series]) -> dict[str, Any]:
    """One row: its path, each side's figures, and what came of its goals."""
    servers = {name: {"path": one.path, "figures": one.figures(), "failures": one.failures}
               for name, one in series.items()}
    return {"name": row.name, "what": row.what, "placement": row.path, "servers": servers,
            "goals": goals(row.goals, series, "linux")}
