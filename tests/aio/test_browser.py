"""A browser loads a page with fifty assets over HTTPS and speaks over a websocket: uvicorn on the stack."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.aio.browsed import ASSETS
from tests.aio.conftest import Site
from tests.aio.test_run import program

from underpass.linux.namespaces import until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
PORT = 8443

pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="there is no Chromium here: `make test-browser` installs it")


def fetched(site: Site, path: str) -> str:
    return site.pair.client.run("curl", "-sSk", "--max-time", "5", f"https://{site.host}:{PORT}{path}",
                                check=False).stdout


def browse(site: Site, profile: Path) -> "subprocess.Popen[str]":
    """Once the peer's addresses are settled: a browser breaks off what it loads when one more may be used."""
    assert until(lambda: "tentative" not in site.pair.client.run("ip", "addr").stdout, 20, 0.2)
    return site.pair.client.start(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-proxy-server", "--disable-background-networking", "--ignore-certificate-errors",
        "--remote-debugging-port=0", f"--user-data-dir={profile}", f"https://{site.host}:{PORT}/")


def test_a_page_with_fifty_assets_and_a_websocket(site: Site, tmp_path: Path) -> None:
    for name in ("uvicorn", "websockets"):
        pytest.importorskip(name)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", "2", "-subj", "/CN=underpass", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    with program(site, tmp_path, "uvicorn", "--app-dir", str(Path(__file__).parent), "browsed:app", "--host",
                 "0.0.0.0", "--port", str(PORT), "--lifespan", "off", "--ssl-keyfile", str(key),
                 "--ssl-certfile", str(certificate), serves=PORT):
        assert "assets" in fetched(site, "/")
        browser = browse(site, tmp_path / "profile")
        try:
            assert until(lambda: fetched(site, "/report"), 60, 0.5)
            rows = site.pair.server.run(sys.executable, "-m", "underpass.cli", "ss", "--all", "--json").stdout
            assert ("ESTABLISHED", PORT) in {(row["state"], row["local_port"]) for row in json.loads(rows)}
        finally:
            site.pair.client.stop(browser)
        assert fetched(site, "/report") == f"{ASSETS}-hello-back"
