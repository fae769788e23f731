"""A server that is stopped or killed while it takes uploads leaves nothing that a sweep does not find."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from litestar_filestore import LocalBackend, StorageRegistry
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import ledger_of
from tests.ledger.places import async_url
from tests.servers.proc import wait_for_end
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, free_port, running
from tests.uploads.ledger_app import BACKEND, Base
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.sockets import Running, head_of

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

MIB = 1024 * 1024
FILES = [Piece("files", b"1" * MIB, "1.bin"), Piece("files", b"2" * 3 * MIB, "2.bin")]
LEDGER = ledger_of(Base.metadata)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"kill_{uuid.uuid4().hex}"
    server.create_database(name)
    return server.url("psycopg", name)


@contextmanager
def serving(folder: Path, url: str) -> Iterator[Running]:
    """Serve the application of `tests.uploads.ledger_app`."""
    port = free_port()
    app = "tests.uploads.ledger_app:create_app_from_environment"
    command = [sys.executable, "-P", "-m", "uvicorn", app, "--factory", "--host", HOST, "--port", str(port)]
    surroundings = Surroundings(
        environment={**TESTS_IMPORTABLE, "UPLOAD_FOLDER": str(folder), "UPLOAD_DATABASE": async_url(url)}
    )
    with running("uvicorn", [*command, "--timeout-graceful-shutdown", "1"], folder, surroundings) as process:
        process.wait_for_port(port)
        yield Running(port, folder / "files", process)


def states(engine: sa.Engine) -> list[str]:
    """Return the states of the ledger's rows."""
    assert LEDGER is not None
    with engine.connect() as connection:
        return sorted(connection.scalars(sa.select(LEDGER.c.state)))


def let_time_pass(engine: sa.Engine) -> None:
    """Make every lease and every pause end now."""
    assert LEDGER is not None
    with engine.begin() as connection:
        connection.execute(sa.update(LEDGER).values(not_before=0.0))


@pytest.mark.matrix(cases=1)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_uploads_of_a_server_that_ends_are_swept(tmp_path: Path, url: str, stop: signal.Signals) -> None:
    """Of five uploads in all stages, the finished one stays, and a sweep removes whatever there is of the others."""
    assert LEDGER is not None
    body = body_of(*FILES)
    head = head_of(path="/rows", length=len(body))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with serving(tmp_path, url) as server, ExitStack() as stack:
        assert server.ask(head, body) == 201
        for sent in (100, MIB // 2, 2 * MIB, len(body) - 10):
            wire = stack.enter_context(server.connect())
            wire.socket.sendall(head + body[:sent])
        # Of the second upload one file is staged, of the third and the fourth two each.
        server.process.wait_until(lambda: states(engine) == ["linked"] * 2 + ["staged"] * 5)
        os.kill(server.process.pid, stop)
        assert wait_for_end(server.process.pid, 20)
    backend = LocalBackend(BACKEND, tmp_path / "files")
    registry = StorageRegistry()
    registry.register_backend(backend)
    let_time_pass(engine)
    sweep(engine, LEDGER, registry)
    backend.clean(older_than=0)
    files = [each for each in (tmp_path / "files").rglob("*") if each.is_file()]
    assert sorted(each.stat().st_size for each in files) == [MIB, 3 * MIB]
    assert [each for each in states(engine) if each != "gone"] == ["linked"] * 2
