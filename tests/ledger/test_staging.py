"""The connection pool of the ledger's own transactions lives and ends with that of the application."""

from __future__ import annotations

from sqlite3 import ProgrammingError
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from litestar_filestore.ledger.staging import patiently, staging_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A database file."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/test.db")
    yield engine
    engine.dispose()


def pool_beside(engine: sa.Engine) -> sa.QueuePool:
    """Return the pool of the staging engine, which has one idle connection."""
    beside = staging_engine(engine)
    assert beside is not None
    beside.connect().close()
    assert isinstance(beside.pool, sa.QueuePool)
    assert beside.pool.checkedin() == 1
    return beside.pool


@pytest.mark.parametrize("disposed", ["engine", "with options"])
@pytest.mark.parametrize("used", ["engine", "with options"])
def test_dispose_closes_the_staging_pool(engine: sa.Engine, used: str, disposed: str) -> None:
    """Disposing of an engine closes what was staged with, whichever of the engines on one pool did either."""
    engines = {"engine": engine, "with options": engine.execution_options(isolation_level="SERIALIZABLE")}
    pool = pool_beside(engines[used])
    engines[disposed].dispose()
    assert pool.checkedin() == 0


def test_connection_that_comes_back_late_is_closed(engine: sa.Engine) -> None:
    """An upload that ends after its engine was disposed of leaves no open connection behind."""
    beside = staging_engine(engine)
    assert beside is not None
    connection = beside.connect()
    driven = connection.connection.driver_connection
    assert driven is not None
    engine.dispose()
    connection.close()
    with pytest.raises(ProgrammingError, match="closed"):
        driven.execute("SELECT 1")


def test_engines_on_one_pool_share_the_staging_pool(engine: sa.Engine) -> None:
    """Engines that are made with execution options for each request do not open a pool each."""
    pool = pool_beside(engine)
    for _ in range(2):
        assert pool_beside(engine.execution_options(isolation_level="SERIALIZABLE")) is pool


def test_statements_of_the_application_stay_as_quick_as_they_were(engine: sa.Engine) -> None:
    """To hear of the end of an engine is no reason for SQLAlchemy to look for listeners at each of its statements."""
    pool = pool_beside(engine)
    assert "_has_events" not in vars(engine)  # what SQLAlchemy asks before each step
    engine.dispose()
    assert pool.checkedin() == 0


@pytest.mark.parametrize("place", ["engine", "all engines"])
def test_listeners_that_come_later_are_called(engine: sa.Engine, place: str) -> None:
    """Tracing that begins after the first upload sees the statements of the engine."""
    pool_beside(engine)
    seen: list[str] = []

    def look(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    target = engine if place == "engine" else sa.Engine
    event.listen(target, "before_cursor_execute", look)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    finally:
        event.remove(target, "before_cursor_execute", look)
    assert seen == ["SELECT 1"]


def test_waiting_for_a_lock_ends_however_long_an_attempt_takes(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts, not the attempts: an application's own connections may wait long for each of them."""
    attempts = 0
    now = 0.0

    def clock() -> float:
        return now

    def write() -> None:
        nonlocal attempts, now
        attempts += 1
        now += 4.0  # as an attempt of a connection that waits four seconds
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")

    monkeypatch.setattr("litestar_filestore.ledger.staging.monotonic", clock)
    with engine.connect() as writer:
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            patiently(write)
        writer.rollback()
    assert attempts == 2
