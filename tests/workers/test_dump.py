"""`underpass dump` beside several workers without privileges, in their sandboxes."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.workers.test_supervisor import Workers, asks, served

from underpass.observe.dissect import row
from underpass.observe.pcapng_blocks import packets

__all__ = ["served"]


def test_every_worker_is_captured_each_as_an_interface_of_the_file(served: Workers, tmp_path: Path) -> None:
    file = tmp_path / "out.pcapng"
    interface = served.pair.server.interface
    command = [sys.executable, "-m", "underpass.cli", "dump", "-i", interface, "-w", str(file), "tcp port 80"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0) as dump:
        assert dump.stderr is not None
        said = sorted(dump.stderr.readline().decode() for _ in served.running())
        assert said == sorted(f"capturing on {interface} (worker {pid})\n" for pid in served.running())
        clients = served.one_for_each()
        assert all(asks(client) for client in clients.values())
        dump.send_signal(signal.SIGINT)
        _, counted = dump.communicate(timeout=20)
    assert dump.returncode == 0, counted
    found = list(packets(file.read_bytes()))
    for client in clients.values():
        port = client.getsockname()[1]
        ends = [(packet.interface, packet.is_sent) for packet in found
                if port in (row(packet).get("src_port"), row(packet).get("dst_port"))]
        assert len({interface for interface, _ in ends}) == 1
        assert {is_sent for _, is_sent in ends} == {True, False}
    assert {packet.interface for packet in found} == {0, 1}
    assert all(asks(client) for client in clients.values())         # and they go on
