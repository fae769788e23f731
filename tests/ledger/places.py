"""Empty databases and folders for programs that many processes or tasks work on."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event

from tests.ledger.models import Base
from tests.ledger.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("async_url", "create_tables", "place", "prepare", "sync_url")

_ASYNC_DRIVERS = {"sqlite:": "sqlite+aiosqlite:", "+psycopg:": "+asyncpg:", "+pymysql:": "+aiomysql:"}


def async_url(url: str) -> str:
    """Return the URL of the same database for its async driver."""
    for sync, async_ in _ASYNC_DRIVERS.items():
        url = url.replace(sync, async_)
    return url


def sync_url(url: str) -> str:
    """Return the URL of the same database for its sync driver."""
    for sync, async_ in _ASYNC_DRIVERS.items():
        url = url.replace(async_, sync)
    return url


def prepare(engine: sa.Engine) -> sa.Engine:
    """Let SQLite work with several processes, and not wait for the disk."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _use_write_ahead_log)
    return engine


def _use_write_ahead_log(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


@contextmanager
def place(database: str, url: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the URL of an empty database with the tables, and an empty folder.

    Args:
        database: Its kind.
        url: That of a database that is there already, for a sync driver; ``None`` to start a server for it.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = url or _serve(database, directory, stack)
        create_tables(url, directory / "store")
        yield url, str(directory / "store")


def _serve(database: str, directory: Path, stack: ExitStack) -> str:
    if database == "postgresql":
        from tests.servers import postgres

        return stack.enter_context(postgres.serve(directory)).url("psycopg")
    if database == "mariadb":
        from tests.servers import mariadb

        server = stack.enter_context(mariadb.serve(directory))
        server.create_database("stress")
        return server.url("pymysql", "stress")
    return f"sqlite:///{directory}/stress.db"


def create_tables(url: str, root: Path) -> None:
    """Make the tables and the folder of a run."""
    world = World(prepare(sa.create_engine(url)), root)
    Base.metadata.drop_all(world.engine)
    world.create()
    world.engine.dispose()
