"""Resumable uploads on every kind of database."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.tus.picky import backend_in
from tests.tus.test_uploads import content_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.mariadb import MariadbServer
    from tests.servers.postgres import PostgresServer
    from tests.tus.conftest import Serve

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
