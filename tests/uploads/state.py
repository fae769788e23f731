"""What is left of requests in storage, rows and ledger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend, StorageRegistry
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import ledger_of
from litestar_filestore.orm.columns import file_columns, files_in

if TYPE_CHECKING:
    from sqlalchemy.orm import DeclarativeBase

__all__ = ("Left", "Store")

SECONDS = 20.0
"""How long a request may take to give up what it has stored."""


class Left(NamedTuple):
    """What is left when everything that is given up has been swept."""

    objects: set[str]
    """Keys in the backend."""
    rows: set[str]
    """Keys in rows."""
    linked: set[str]
    """Keys that the ledger has for rows."""

    @property
    def is_consistent(self) -> bool:
        """Whether every object has a row and every row its object, and the ledger knows."""
        return self.objects == self.rows == self.linked


class Store:
    """The folder of an application with a local backend, and its database, seen from outside."""

    def __init__(self, folder: Path, backend: str, base: type[DeclarativeBase], url: str | None = None) -> None:
        """Look at ``files`` in `folder`, and at ``rows.sqlite`` there or at the database behind `url`."""
        self._engine = sa.create_engine(url or f"sqlite:///{folder / 'rows.sqlite'}", poolclass=sa.NullPool)
        self._backend = LocalBackend(backend, folder / "files")
        self._base = base
        table = ledger_of(base.metadata)
        assert table is not None
        self._ledger = table

    def settle(self) -> Left:
        """Wait until no request has anything in its hands, sweep, and return what is left."""
        deadline = time.monotonic() + SECONDS
        while self.staged():
            assert time.monotonic() < deadline, "a request has not given up what it has stored"
            time.sleep(0.005)
        registry = StorageRegistry()
        registry.register_backend(self._backend)
        sweep(self._engine, self._ledger, registry)
        return Left({info.key for info in self._backend.list()}, self._rows(), self._keys("linked"))

    def staged(self) -> set[str]:
        """Return the keys that a request has in its hands, or has left to their lease."""
        return self._keys("staged")

    def _keys(self, state: str) -> set[str]:
        with self._engine.connect() as connection:
            return set(connection.scalars(sa.select(self._ledger.c.key).where(self._ledger.c.state == state)))

    def _rows(self) -> set[str]:
        with Session(self._engine) as session:
            return {
                file.path
                for mapper in self._base.registry.mappers
                for column in file_columns(mapper)
                for value in session.scalars(sa.select(getattr(mapper.class_, column.key)))
                for file in files_in(value)
            }
