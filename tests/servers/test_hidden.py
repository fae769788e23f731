"""Programs that are hidden are not found, and the tests that want one are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.servers import azurite, ceph, chromium, hidden, lighttpd, mariadb, nginx, npm, pgbouncer
from tests.servers.postgres import PostgresServer
from tests.servers.processes import ServerMissingError

STARTS: dict[str, Any] = {
    "azurite": azurite.serve,
    "ceph": ceph.serve,
    "chromium": lambda _folder: _Opened(chromium.executable()),
    "lighttpd": lambda folder: lighttpd.serve(folder, ""),
    "mariadb": mariadb.serve,
    "nginx": lambda folder: nginx.serve(folder, ""),
    "npm": lambda _folder: _Opened(Path(npm.find_node())),
    "pgbouncer": lambda folder: pgbouncer.serve(folder, PostgresServer(folder, 5432)),
}


class _Opened:
    def __init__(self, found: Path) -> None:
        self.found = found

    def __enter__(self) -> Path:
        return self.found

    def __exit__(self, *_error: object) -> None:
        pass


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> bool:
    """Whether the test would be part of a run with hidden programs."""
    return hidden.wants_a_program(request.node)


@pytest.mark.parametrize("name", sorted(hidden.launchers()))
def test_no_launcher_finds_its_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed, a launcher says that it is not."""
    hidden.hide(monkeypatch, tmp_path)
    with pytest.raises((ServerMissingError, pytest.skip.Exception)), STARTS[name](tmp_path):
        pytest.fail("it started")


@pytest.mark.parametrize("about", ["mariadb", "sqlite"])
def test_tests_are_told_by_their_parameters(about: str, *, wanted: bool) -> None:
    """A test that is about a server is one that wants it, also where a child process starts it."""
    assert wanted == (about == "mariadb")


@pytest.fixture
def program() -> str | None:
    """Path of a program."""
    return shutil.which("no-such-program")


def test_tests_are_told_by_their_fixtures(program: str | None, *, wanted: bool) -> None:
    """A test whose fixture looks for a program wants it."""
    assert (program, wanted) == (None, True)


def test_tests_are_told_by_what_they_call(*, wanted: bool) -> None:
    """A test that looks for a program wants it."""
    assert wanted
    assert shutil.which("no-such-program") is None
