"""A direct upload whose process is killed can be finished, and of one that is given up nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from litestar_filestore import StorageBackend
from tests.direct.conftest import Direct, Serve
from tests.direct.killed import CONTENT, TICKET
from tests.servers.processes import TESTS_IMPORTABLE
from tests.tus.stores import describe, open_store

UNKNOWN_TO_CLIENTS = {"direct.staged", "direct.begun"}


def die_and_go_on(serve: Serve, store: str, folder: Path, point: str, way: str = "begin") -> StorageBackend:
    """Let a process die while it takes an upload, finish it, and let everything expire."""
    direct = Direct(serve(backend := open_store(store)))
    command = [sys.executable, "-m", "tests.direct.killed", str(folder), point, way, store]
    ended = subprocess.run(command, env=TESTS_IMPORTABLE, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    direct.site.change("UPDATE filestore_upload SET held_until = 0")  # the dead process holds it for a while
    if point not in UNKNOWN_TO_CLIENTS:
        ticket = (folder / TICKET).read_text()
        if point == "direct.part":
            for number in (1, 2):
                at = (number - 1) * 8 * 1024 * 1024
                assert direct.put(ticket, number, CONTENT[at : at + 8 * 1024 * 1024]).status_code == 200
        answer = direct.finish(ticket)
        assert answer.status_code == 200, answer.text
        (key,) = direct.site.keys()
        assert b"".join(backend.get(key)) == CONTENT
    direct.site.change("UPDATE filestore_upload SET expires_at = 0")
    direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'staged'")
    for _ in range(2):
        direct.site.sweep()
        direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    assert direct.site.query("SELECT id FROM filestore_upload") == []
    assert direct.site.query("SELECT number FROM filestore_upload_part") == []
    assert direct.site.keys() == []
    return backend


@pytest.mark.matrix(cases=1)
@pytest.mark.parametrize("point", ["direct.staged", "direct.begun", "direct.part", "direct.added"])
def test_killed(request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, point: str) -> None:
    """What has come counts; the end can be asked for again; the sweep clears object, parts and row."""
    backend = die_and_go_on(serve, describe(request, "local", tmp_path), tmp_path, point)
    # What was begun in the store, and killed before it was committed, is removed by the store itself, after a while.
    for path in (tmp_path / "files" / ".filestore").glob("*.parts"):
        assert point == "direct.begun"
        os.utime(path, (0, 0))
    backend.clean(older_than=0)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "death", [("s3", "upload.joined"), ("s3", "direct.copied", "form"), ("azure", "direct.part")], ids=" ".join
)
def test_killed_at_servers(
    request: pytest.FixtureRequest, tmp_path: Path, serve: Serve, death: tuple[str, ...]
) -> None:
    """The same on stores that get the file from the client, and on one that gets it from the application."""
    backend = die_and_go_on(serve, describe(request, death[0], tmp_path), tmp_path, *death[1:])
    assert backend.clean(older_than=0) == 0
