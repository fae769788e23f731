"""Real servers for the tests. Each is started when the first test wants it, and lives as long as the session."""

from __future__ import annotations

import gc
import inspect
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from litestar_filestore.testing.leaks import LeakGate, assert_no_tasks
from tests.connections import collect_dropped, follow_connections, open_connections
from tests.selection import mark_slow
from tests.servers import azurite, ceph, gcs, gcs_json, hidden, mariadb, moto, postgres, sftp, webdav
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer
from tests.servers.processes import require
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with which a run shows that no server has to be there."""
    parser.addoption(
        "--hide-servers",
        action="store_true",
        help="run only tests that want a program of the system, which is hidden from them: none may fail",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hide the programs from this process, before anything is started, and begin to follow its connections."""
    follow_connections()
    if config.getoption("--hide-servers"):
        patch = pytest.MonkeyPatch()
        hidden.hide(patch, Path(tempfile.mkdtemp(prefix="filestore-hidden-")))
        config.add_cleanup(patch.undo)


@pytest.hookimpl(tryfirst=True)  # before pytest looks for the marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell what is slow, and keep the tests that want a program, if the programs are hidden."""
    mark_slow(items)
    if config.getoption("--hide-servers"):
        kept = dict.fromkeys(hidden.chosen(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph: S3 with everything that can be refused."""
    with require(ceph.serve, tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto: S3 that lets everybody in."""
    with require(moto.serve, tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite: Azure's blob service."""
    with require(azurite.serve, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """Google Cloud Storage's XML interface, for obstore."""
    with require(gcs.serve, tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_json_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsJsonServer]:
    """Google Cloud Storage's JSON interface, for gcsfs."""
    with require(gcs_json.serve, tmp_path_factory.mktemp("gcs-json")) as server:
        yield server


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """SFTP with a password."""
    with require(sftp.serve, tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="session")
def webdav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavServer]:
    """WebDAV with a password."""
    with require(webdav.serve, tmp_path_factory.mktemp("webdav")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL; a test makes a database of its own in it."""
    with require(postgres.serve, tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """MariaDB; a test makes a database of its own in it."""
    with require(mariadb.serve, tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let temporary files of this process be made where nobody else makes any."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def leak_gate(
    request: pytest.FixtureRequest, temporary_folder: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail a test that leaves a descriptor, a temporary file or, on its event loop, a task."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("task_gate")
    gate, connections = LeakGate(temporary_folder), open_connections()
    yield
    collect_dropped(connections)
    for record in (*caplog.get_records("setup"), *caplog.get_records("call")):
        record.exc_info = None  # the frames of a traceback hold all that was open in them
    try:
        gate.check()
    except AssertionError as error:
        error.add_note(_holders())
        raise


def _holders() -> str:
    """Return what refers to the connections to SQLite that are alive, which are most of what tests leave open."""
    lines: list[str] = []
    for each in gc.get_objects():
        if isinstance(each, sqlite3.Connection):
            lines.append(repr(each))
            lines.extend(f"    from {type(holder).__name__} {holder!r:.200}" for holder in gc.get_referrers(each))
    return "\n".join(lines)


@pytest.fixture
async def task_gate() -> AsyncIterator[None]:
    """See that no task runs on after an async test."""
    yield
    await assert_no_tasks()


@pytest.fixture(autouse=True)
def _no_reserved_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests count the entries of a ledger: none is written ahead, but where a test is about that."""
    monkeypatch.setattr("litestar_filestore.ledger.reserves._WINDOW_SECONDS", -1.0)
