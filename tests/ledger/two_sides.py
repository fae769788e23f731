"""Two databases with a ledger each, and sessions that are bound to both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend, storages
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import State, ledger_of
from tests.ledger import models, two_models
from tests.ledger.models import Document, content_of
from tests.ledger.places import sync_url
from tests.ledger.two_models import Invoice
from tests.ledger.world import LONG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ("Kind", "Side", "TwoSides")


class Kind(NamedTuple):
    """Which databases a session is bound to, and how."""

    left: str
    """Driver for `Document`."""
    right: str
    """Driver for `Invoice`."""
    is_async: bool = False
    twophase: bool = False

    def __str__(self) -> str:
        """Return the name of the kind in the list of the tests."""
        half = "async" if self.is_async else "sync"
        return f"{half}-{self.left}-{self.right}{'-twophase' if self.twophase else ''}"


class Side:
    """One of the two: rows, ledger and store."""

    def __init__(self, model: type[Document | Invoice], key: str, url: str, root: Path) -> None:
        """Make the tables anew, and a table whose constraint fails at commit."""
        self.model: Any = model
        self.engine = sa.create_engine(url)
        self.backend = LocalBackend(key, root / key, fsync=False)
        storages.register_backend(self.backend)
        self.backend.storage_driver.start()
        table = ledger_of(model.metadata)
        assert table is not None
        self._ledger = table
        late = f"id INTEGER REFERENCES {model.__tablename__} (id) DEFERRABLE INITIALLY DEFERRED"
        with self.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS late"))
            model.metadata.drop_all(connection)
            model.metadata.create_all(connection)
            connection.execute(sa.text(f"CREATE TABLE late ({late})"))

    def tags(self) -> dict[int, str]:
        """Return what the rows hold, after a look at their bytes, and at the ledger, which has to say the same."""
        found: dict[int, str] = {}
        held: list[str] = []
        with Session(self.engine) as session:
            for row in session.scalars(sa.select(self.model).where(self.model.file.is_not(None))):
                found[row.id] = row.file.filename.removesuffix(".txt")
                assert row.file.get_content() == content_of(found[row.id])
                held.append(row.file.path)
        assert sorted(held) == sorted(key for key, state in self._entries() if state == State.LINKED)
        return found

    def recover(self) -> None:
        """Let time pass and sweep; then nothing is left but what the rows hold."""
        for _ in range(2):  # the second sweep is for the tombstones of the first
            with self.engine.begin() as connection:
                connection.execute(sa.update(self._ledger).values(not_before=self._ledger.c.not_before - LONG))
            sweep(self.engine, self._ledger, storages)
        entries = self._entries()
        assert {state for _, state in entries} <= {State.LINKED}
        assert sorted(info.key for info in self.backend.list()) == sorted(key for key, _ in entries)

    def _entries(self) -> list[tuple[str, str]]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(self._ledger.c.key, self._ledger.c.state, self._ledger.c.backend))
            return [(key, state) for key, state, backend in rows if backend == self.backend.key]

    def close(self) -> None:
        """Unregister the backend and close the connections."""
        storages.unregister_backend(self.backend.key)
        self.engine.dispose()


class TwoSides:
    """Runs work in sessions that are bound to both databases."""

    def __init__(self, kind: Kind, urls: tuple[str, str], root: Path) -> None:
        """Open the databases behind `urls`."""
        self.kind = kind
        self.left = Side(Document, models.BACKEND, sync_url(urls[0]), root)
        self.right = Side(Invoice, two_models.BACKEND, sync_url(urls[1]), root)
        self._engines = [create_async_engine(url) if kind.is_async else sa.create_engine(url) for url in urls]
        for engine in self._engines:
            check_foreign_keys(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)
        self._runner = asyncio.Runner()

    def run(self, work: Callable[[Session], None]) -> None:
        """Run `work` in a session of its own; a commit is the business of `work`."""
        left, right = self._engines
        binds: dict[Any, Any] = {models.Base: left, two_models.TwoBase: right}
        if not self.kind.is_async:
            with Session(binds=binds, twophase=self.kind.twophase) as session:
                work(session)
            return

        async def main() -> None:
            async with AsyncSession(binds=binds, twophase=self.kind.twophase) as session:
                await session.run_sync(work)

        self._runner.run(main())

    def tags(self) -> tuple[dict[int, str], dict[int, str]]:
        """Return what the rows of both hold; see `Side.tags`."""
        return self.left.tags(), self.right.tags()

    def recover(self) -> None:
        """Sweep both; see `Side.recover`."""
        self.left.recover()
        self.right.recover()

    def close(self) -> None:
        """Close everything."""
        for engine in self._engines:
            if isinstance(engine, AsyncEngine):
                self._runner.run(engine.dispose())
            else:
                engine.dispose()
        self._runner.close()
        self.left.close()
        self.right.close()


def check_foreign_keys(engine: sa.Engine) -> None:
    """Let SQLite look at foreign keys, as the others do."""
    if engine.dialect.name != "sqlite":
        return

    def switch_on(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    event.listen(engine, "connect", switch_on)
