"""The programs that people download with: each resumes, and has the right bytes in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.downloads.content import big
from tests.downloads.programs import run_program
from tests.downloads.serving import Served
from tests.servers.processes import HOST

CUT = 3_000_001


def _url(server: Served, backend: str) -> str:
    return f"http://{HOST}:{server.port}/{backend}/big"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A download that was cut."""
    path = tmp_path / "part"
    path.write_bytes(big()[:CUT])
    return path


def test_curl_resumes(server: Served, backend: str, part: Path) -> None:
    """``curl -C -`` asks for the rest and appends it."""
    run_program("curl", "--silent", "--fail", "--continue-at", "-", "--output", part, _url(server, backend))
    assert part.read_bytes() == big()


def test_curl_follows_the_tag(server: Served, backend: str, tmp_path: Path) -> None:
    """``curl --etag-compare`` downloads once, and is told that nothing changed the next time."""
    tag, first, second = (tmp_path / name for name in ("tag", "first", "second"))
    url = _url(server, backend)
    run_program("curl", "--silent", "--etag-save", tag, "--output", first, url)
    told = ("--write-out", "%{http_code} %{size_download}")
    again = run_program("curl", "--silent", "--etag-compare", tag, "--output", second, *told, url)
    assert first.read_bytes() == big()
    assert again.stdout == b"304 0"


def test_wget_resumes(server: Served, backend: str, part: Path) -> None:
    """``wget -c`` asks for the rest and appends it."""
    run_program("wget", "--quiet", "--no-config", "--continue", "--output-document", part, _url(server, backend))
    assert part.read_bytes() == big()


def test_wget_takes_the_name(server: Served, backend: str, tmp_path: Path) -> None:
    """The name in Content-Disposition is the one that the file is saved under."""
    folder = tmp_path / "saved"
    url = f"http://{HOST}:{server.port}/{backend}/small/unknown"
    run_program("wget", "--quiet", "--no-config", "--content-disposition", "--directory-prefix", folder, url)
    assert [each.name for each in folder.iterdir()] == ["Übersicht „2026“.txt"]


def test_aria2_reads_in_parallel(server: Served, backend: str, tmp_path: Path) -> None:
    """``aria2c -x8`` splits the file among eight connections and puts it together again."""
    run_program(
        "aria2c",
        "--no-conf",
        "--quiet",
        "--max-connection-per-server=8",
        "--split=8",
        "--min-split-size=1M",
        "--file-allocation=none",
        f"--dir={tmp_path}",
        "--out=whole",
        _url(server, backend),
    )
    assert (tmp_path / "whole").read_bytes() == big()
