"""An upload whose process is killed goes on where it was committed, and nothing of the process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.processes import TESTS_IMPORTABLE
from tests.tus.conftest import Serve, Site
from tests.tus.killed import CONTENT, URL, backend_in

LOCAL = [
    ("upload.committed", 1),  # the first bytes wait in the row
    ("upload.staged", 1),
    ("upload.begun", 1),
    ("upload.part", 1),
    ("upload.committed", 2),
    ("upload.part", 3),
    ("upload.committed", 4),
    ("upload.joined", 1),
    ("upload.completed", 1),
]
PICKY = [("upload.part", 1), ("upload.tail", 1), ("upload.part", 2), ("upload.committed", 3), ("upload.joined", 1)]

BEFORE_THE_FIRST_COMMIT = {
    ("local", "upload.staged", 1),
    ("local", "upload.begun", 1),
    ("local", "upload.part", 1),
    ("picky", "upload.tail", 1),
}


def kill(folder: Path, point: str, nth: int, store: str) -> None:
    """Let a process upload until it dies."""
    command = [sys.executable, "-m", "tests.tus.killed", str(folder), point, str(nth), store]
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
@pytest.mark.parametrize(
    ("store", "point", "nth"),
    [*(("local", *each) for each in LOCAL), *(("picky", *each) for each in PICKY)],
)
def test_killed_upload_goes_on(tmp_path: Path, serve: Serve, store: str, point: str, nth: int) -> None:
    """Whatever was committed counts, the rest is sent again, and the file is whole."""
    site = serve(backend := backend_in(tmp_path, picky=store == "picky"))
    kill(tmp_path, point, nth, store)
    site.change("UPDATE filestore_upload SET held_until = 0")  # the dead process holds it for a while
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    begin = go_on(site, (tmp_path / URL).read_text())
    assert (begin == 0) == ((store, point, nth) in BEFORE_THE_FIRST_COMMIT)
    site.sweep()
    (key,) = site.keys()
    assert b"".join(backend.get(key)) == CONTENT
    site.change("UPDATE filestore_upload SET expires_at = 0")
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'staged'")
    site.sweep()
    # What was begun in the store, and killed before it was committed, is removed by the store itself, after a while.
    for path in (tmp_path / "files" / ".filestore").glob("*.parts"):
        os.utime(path, (0, 0))
    backend.clean(older_than=0)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
