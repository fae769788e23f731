"""The connection pool of the ledger's own transactions lives and ends with that of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from litestar_filestore.ledger.staging import staging_engine

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


def test_engines_on_one_pool_share_the_staging_pool(engine: sa.Engine) -> None:
    """Engines that are made with execution options for each request do not open a pool each."""
    pool = pool_beside(engine)
    for _ in range(2):
        assert pool_beside(engine.execution_options(isolation_level="SERIALIZABLE")) is pool
