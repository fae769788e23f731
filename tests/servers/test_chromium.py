"""The browser runs, and reaches servers on this machine."""

from __future__ import annotations

import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.servers import chromium
from tests.servers.processes import HOST


def test_chromium_shows_a_page(tmp_path: Path) -> None:
    """The browser runs scripts of a page from a server on this machine."""
    (tmp_path / "index.html").write_text("<body><script>document.body.append(6 * 7)</script>")
    with ThreadingHTTPServer((HOST, 0), partial(_QuietHandler, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever).start()
        options = ["--headless", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        url = f"http://{HOST}:{server.server_port}/"
        try:
            page = subprocess.run(
                [chromium.executable(), *chromium.ARGUMENTS, *options, url], capture_output=True, check=True, timeout=60
            )
        finally:
            server.shutdown()

    assert b"42</body>" in page.stdout


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the parent
        """Say nothing about requests."""
