"""Resumable uploads on every kind of database."""

from __future__ import annotations

import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.uploads import receiving
from tests.servers import pgbouncer
from tests.servers.processes import require
from tests.tus.picky import backend_in
from tests.tus.test_uploads import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.mariadb import MariadbServer
    from tests.servers.postgres import PostgresServer
    from tests.tus.conftest import Serve, Site

MIB = 1024 * 1024


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database on a server."""
    name = f"tus_{uuid.uuid4().hex}"
    if request.param == "mariadb":
        mariadb: MariadbServer = request.getfixturevalue("mariadb_server")
        mariadb.create_database(name)
        return mariadb.url("pymysql", name)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.create_database(name)
    return server.url("psycopg", name)


@pytest.mark.slow
def test_upload_in_uneven_pieces(serve: Serve, tmp_path: Path, url: str) -> None:
    """Head, parts, tail and lease, the end of an upload, and a sweep of another one."""
    site = serve(backend_in(tmp_path, picky=True), url=url)
    content = secrets.token_bytes(17 * MIB + 77)
    upload, other, offset = site.create(len(content)), site.create(len(content)), 0
    for size in (1, 70_000, 9 * MIB, 100, len(content)):
        answer = site.append(upload, offset, content[offset : offset + size])
        assert answer.status_code == 204, answer.text
        offset = min(offset + size, len(content))
        assert site.offset(upload) == offset
    assert site.append(other, 0, content[: 9 * MIB]).status_code == 204
    assert site.ask("DELETE", site.create(5)).status_code == 204
    site.change("UPDATE filestore_upload SET expires_at = 0")
    site.sweep()
    assert content_of(site) == content
    assert site.query("SELECT id FROM filestore_upload") == site.query("SELECT upload FROM filestore_upload_part") == []
    assert sorted({*site.states()} - {"gone"}) == ["staged"]


@pytest.fixture(params=["asyncpg", "psycopg"])
def bounced(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path: Path
) -> Iterator[tuple[str, AsyncEngine]]:
    """URL of an empty database, and an engine of an application that reaches it through PgBouncer."""
    postgres_server.create_database(name := f"tus_{uuid.uuid4().hex}")
    (folder := tmp_path / "bouncer").mkdir()
    options = pgbouncer.OPTIONS[request.param]
    with require(lambda directory: pgbouncer.serve(directory, postgres_server), folder) as bouncer:
        engine = create_async_engine(bouncer.url(request.param, name), connect_args=options, pool_size=8)
        yield postgres_server.url("psycopg", name), engine


@pytest.mark.slow
def test_uploads_behind_pgbouncer(
    bounced: tuple[str, AsyncEngine], serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In transaction mode, with fewer connections than clients: nothing depends on a session of the database."""
    monkeypatch.setattr(receiving, "_PART_BYTES", MIB)
    url, engine = bounced
    site = serve(backend_in(tmp_path, picky=True), url=url, beside=engine)
    contents = [secrets.token_bytes(2 * MIB + 100_000 * each) for each in range(2, 8)]
    with ThreadPoolExecutor(len(contents)) as clients:
        for reference in clients.map(lambda content: send_in_pieces(site, content), contents):
            answer = site.client.post("/documents/json", json={"title": "x", "file": reference})
            assert answer.status_code == 201, answer.text
    site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    site.sweep()
    found = [b"".join(site.backend.get(key)) for key in iter(site.keys())]
    assert sorted(found) == sorted(contents)


def send_in_pieces(site: Site, content: bytes) -> str:
    """Upload in uneven pieces, ask after each of them how much has come, and return the reference."""
    url, offset = site.create(len(content)), 0
    for size in (1, 70_000, MIB + 9, 100, len(content)):
        assert site.append(url, offset, content[offset : offset + size]).status_code == 204
        offset = min(offset + size, len(content))
        assert site.offset(url) == offset
    return str(site.ask("HEAD", url).headers["filestore-reference"])
