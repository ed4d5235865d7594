"""`underpass metrics`: as a command."""

import argparse
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from tests.cli.worker import worker

from underpass.cli import main
from underpass.cli.metrics import endpoint, shown

pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")


def free_port() -> int:
    """One that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as it:
        return int(it.getsockname()[1])


def test_workers_of_this_machine_are_exposed() -> None:
    at = f"127.0.0.1:{free_port()}"
    with worker() as pid, subprocess.Popen(
            [sys.executable, "-m", "underpass.cli", "metrics", "--listen", at],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as exporter:
        try:
            assert exporter.stdout is not None and exporter.stderr is not None
            url = f"http://{at}/metrics"
            assert exporter.stdout.readline() == f"metrics at {url}\n"
            with urllib.request.urlopen(url, timeout=20) as answer:
                text = answer.read().decode()
            exporter.send_signal(signal.SIGTERM)
            assert exporter.wait(20) == 128 + signal.SIGTERM
            assert exporter.stderr.read() == ""
        finally:
            exporter.kill()
    assert f'underpass_connections{{interface="up-server",pid="{pid}",state="established"}} 3.0' in text
    assert f'underpass_connections{{interface="up-server",pid="{pid}",state="listen"}} 1.0' in text
    assert f'underpass_frames{{interface="up-client",pid="{pid}"}} 4096.0' in text


def test_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--once"]) == 0
    assert "# TYPE underpass_tcp_retransmits_total counter" in capsys.readouterr().out


def test_the_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["metrics"]) == 1
    assert capsys.readouterr().err == \
        "underpass: metrics need prometheus-client: pip install 'underpass[metrics]'\n"


def test_an_address_that_is_not_here_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--listen", "192.0.2.77:9464"]) == 1
    assert capsys.readouterr().err == \
        "underpass: cannot listen on 192.0.2.77:9464: Cannot assign requested address\n"


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "[::1]:1", "0.0.0.0:65535"])
def test_endpoints(text: str) -> None:
    assert shown(endpoint(text)) == text


@pytest.mark.parametrize("text", ["", "9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0",
                                  "::1:9464", "[127.0.0.1]:9464", "[::1]", "127.0.0.1:x"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        endpoint(text)
