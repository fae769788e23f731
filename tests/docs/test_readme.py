"""The application of the README, installed as a user installs it: a wheel in an empty environment, two processes."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from signal import SIGTERM
from uuid import uuid4

import httpx
import pytest

from tests.docs.run_page import ROOT
from tests.servers.processes import HOST, Surroundings, free_port, running

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_extras_of_the_pages() -> None:
    """What the README and the install page tell to install are extras that there are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    lines = re.findall(r"litestar-filestore\[([a-z,]+)\]", README + install)
    named = {extra for line in lines for extra in line.split(",")} | {*re.findall(r"\| `([a-z0-9]+)`", install)}
    assert "standard" in named
    assert named <= project["optional-dependencies"].keys()


def installed(folder: Path) -> Path:
    """Build a wheel of this tree, install it as the README says, in an empty environment, and return its programs."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = [*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(built, check=True, timeout=300)
    (wheel,) = folder.glob("litestar_filestore-*.whl")
    venv.create(folder / "env", with_pip=False)
    found = re.search(r"\$ pip install 'litestar-filestore(\[[a-z,]+\])'", README)
    assert found is not None
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", f"{wheel}{found[1]}"], check=True, timeout=600)
    return python.parent


@pytest.mark.slow
@pytest.mark.timeout(900)  # what pip has not in its cache comes from the network
def test_readme_from_a_wheel_with_two_processes(tmp_path: Path) -> None:
    """What the README installs is enough for its application, and both processes accept each other's links."""
    programs = installed(tmp_path)
    (source,) = re.findall(r"^```python\n(.+?)^```$", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "FILESTORE_SECRET": secrets.token_urlsafe(32),
    }
    port = free_port()
    command: list[str | Path] = [programs / "litestar", "run", "--wc", "2", "--host", HOST, "--port", str(port)]
    with (
        running("readme", command, tmp_path, Surroundings(environment=environment), orphan_signal=SIGTERM) as server,
        httpx.Client(base_url=f"http://{HOST}:{port}", timeout=90) as client,
    ):
        server.wait_for_port(port)
        made = client.post("/documents", data={"title": "Notes"}, files={"file": ("notes.txt", b"hello", "text/plain")})
        assert made.status_code == 201, server.log.read_text(encoding="utf-8") + made.text
        path = f"/documents/{made.json()['id']}/file"
        assert (client.get(path).content, client.head(path).headers["content-length"]) == (b"hello", "5")
        assert client.get(f"/documents/{uuid4()}/file").status_code == 404
        # A connection each, so that both processes answer.
        link, alone = made.json()["file"]["url"], {"Connection": "close"}
        assert [client.get(link, headers=alone).status_code for _ in range(12)] == [200] * 12
