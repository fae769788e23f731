"""An upload whose process is killed goes on where it was committed, and nothing of the process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from litestar_filestore import StorageBackend
from tests.servers.processes import TESTS_IMPORTABLE
from tests.tus.conftest import Serve, Site
from tests.tus.http_upload_client import HttpUploads
from tests.tus.killed import CONTENT, URL
from tests.tus.stores import describe, open_store

DEATHS = [
    ("local", "upload.committed", "1"),  # the first bytes wait in the row
    ("local", "upload.staged", "1"),
    ("local", "upload.begun", "1"),
    ("local", "upload.part", "1"),
    ("local", "upload.committed", "2"),
    ("local", "upload.part", "3"),
    ("local", "upload.committed", "4"),
    ("local", "upload.joined", "1"),
    ("local", "upload.completed", "1"),
    ("picky", "upload.part", "1"),
    ("picky", "upload.tail", "1"),
    ("picky", "upload.part", "2"),
    ("picky", "upload.part", "3"),
    ("picky", "upload.committed", "3"),
    ("picky", "upload.joined", "1"),
]
"""Where a process dies: the store, a point, and which time it comes there."""

BEFORE_THE_FIRST_COMMIT = {
    ("local", "upload.staged", "1"),
    ("local", "upload.begun", "1"),
    ("local", "upload.part", "1"),
    ("picky", "upload.tail", "1"),
}


def kill(folder: Path, point: str, nth: str, store: str, protocol: str = "tus") -> None:
    """Let a process upload to a described store until it dies."""
    command = [sys.executable, "-m", "tests.tus.killed", str(folder), point, nth, store, protocol]
    ended = subprocess.run(command, env=TESTS_IMPORTABLE, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def go_on(site: Site, url: str) -> int:
    """Send what is missing, and return where that began."""
    begin = offset = site.offset(url)
    while offset < len(CONTENT):
        answer = site.append(url, offset, CONTENT[offset : offset + 5_000_000])
        assert answer.status_code == 204, answer.text
        offset = int(answer.headers["upload-offset"])
    assert "filestore-reference" in site.ask("HEAD", url).headers
    return begin


@pytest.mark.matrix(cases=1)
@pytest.mark.parametrize("death", DEATHS, ids=" ".join)
def test_killed_upload_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, death: tuple[str, str, str]
) -> None:
    """Whatever was committed counts, the rest is sent again, and the file is whole."""
    backend, begin = die_and_go_on(serve, describe(request, death[0], tmp_path), tmp_path, *death[1:])
    assert (begin == 0) == (death in BEFORE_THE_FIRST_COMMIT)
    # What was begun in the store, and killed before it was committed, is removed by the store itself, after a while.
    for path in (tmp_path / "files" / ".filestore").glob("*.parts"):
        os.utime(path, (0, 0))
    backend.clean(older_than=0)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "point"), [("local", "upload.committed"), ("picky", "upload.joined")])
def test_killed_upload_goes_on_by_the_draft(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, kind: str, point: str
) -> None:
    """An upload whose process died is not complete before its client says so once more, even if all bytes are there."""
    backend = open_store(store := describe(request, kind, tmp_path))
    site = serve(backend, experimental_http_uploads=True)
    kill(tmp_path, point, "1", store, "draft")
    site.change("UPDATE filestore_upload SET held_until = 0")
    uploads, url = HttpUploads(site.client), (tmp_path / URL).read_text()
    offset, complete, _ = uploads.look(url)
    assert (offset == len(CONTENT), complete) == (point == "upload.joined", "?0")
    reference = uploads.go_on(url, CONTENT, [])
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    site.sweep()
    (key,) = site.keys()
    assert b"".join(backend.get(key)) == CONTENT


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "nth"), [("s3", "1"), ("s3", "2"), ("azure", "2")])
def test_killed_upload_goes_on_at_servers(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, kind: str, nth: str
) -> None:
    """A part that was stored and not committed does not keep a server from finishing, as it would keep Ceph."""
    _, begin = die_and_go_on(serve, describe(request, kind, tmp_path), tmp_path, "upload.part", nth)
    assert begin > 0


def die_and_go_on(serve: Serve, store: str, folder: Path, point: str, nth: str) -> tuple[StorageBackend, int]:
    """Let a process die while it uploads, go on, and let everything expire; return where it went on."""
    site = serve(backend := open_store(store))
    kill(folder, point, nth, store)
    site.change("UPDATE filestore_upload SET held_until = 0")  # the dead process holds it for a while
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    begin = go_on(site, (folder / URL).read_text())
    site.sweep()
    (key,) = site.keys()
    assert b"".join(backend.get(key)) == CONTENT
    site.change("UPDATE filestore_upload SET expires_at = 0")
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'staged'")
    site.sweep()
    assert site.keys() == []
    return backend, begin
