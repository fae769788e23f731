"""Compares rows, ledger and backends both ways, for what the ledger cannot know: raw SQL, restored databases, old data.

It changes nothing unless told to, and refuses to doom more than a share of what it has seen: a wrong bucket or a wrong
database must not empty anything.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.errors import LedgerError, ObjectNotFoundError
from litestar_filestore.orm._bridge import call
from litestar_filestore.orm.clock import database_now
from litestar_filestore.orm.fsck_report import (
    MISSING,
    SHARED,
    SIZE,
    UNKNOWN_ROW,
    UNOWNED,
    UNTRACKED,
    Finding,
    FsckConfig,
    FsckReport,
)
from litestar_filestore.orm.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.orm.ledger_table import State
from litestar_filestore.orm.marker import check_marker
from litestar_filestore.orm.rows import row_files
from litestar_filestore.orm.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Mapper

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import ObjectInfo

__all__ = ("Finding", "FsckConfig", "FsckReport", "fsck", "fsck_async")

_PAGE = 500
_LASTING = (State.LINKED, State.KEPT)
"""Entries whose objects have to be there."""


def fsck(
    engine: Engine,
    table: Table,
    mappers: Sequence[Mapper[Any]],
    backends: Sequence[StorageBackend],
    config: FsckConfig | None = None,
) -> FsckReport:
    """Compare, and with ``config.repair`` mend.

    Args:
        engine: Database of rows and ledger.
        table: The ledger's table.
        mappers: All mapped classes with file columns on this database. One left out makes its files look unowned.
        backends: The backends to list. Entries of others are not looked at.
        config: What it may do; ``None`` only reports.

    Raises:
        LedgerError: If a backend is marked as another database's, or more would be doomed than allowed. Nothing was
            changed in that backend then.
    """
    with Survey() as listed, Survey() as held:
        return _Fsck(engine, Ledger(table), mappers, backends, config or FsckConfig()).run(listed, held)


async def fsck_async(
    engine: AsyncEngine,
    table: Table,
    mappers: Sequence[Mapper[Any]],
    backends: Sequence[StorageBackend],
    config: FsckConfig | None = None,
) -> FsckReport:
    """`fsck` without blocking the event loop for longer than a page takes."""
    return await greenlet_spawn(partial(fsck, engine.sync_engine, table, mappers, backends, config))


class _Fsck:
    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        mappers: Sequence[Mapper[Any]],
        backends: Sequence[StorageBackend],
        config: FsckConfig,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._mappers = mappers
        self._backends = {backend.key: backend for backend in backends}
        self._config = config
        self._report = FsckReport()

    def run(self, listed: Survey, held: Survey) -> FsckReport:
        for backend in self._backends.values():
            check_marker(self._engine, self._ledger.table, backend, claim=self._config.repair)
        self._read_rows(held)
        # Adopting comes first: an object whose row has no entry would look untracked, and be deleted.
        self._check_rows(held)
        self._check_owners(held)
        for backend in self._backends.values():
            self._check_backend(backend, listed)
        self._check_entries(listed)
        return self._report

    def _find(self, kind: str, key: ObjectKey, detail: str = "") -> None:
        self._report.counts[kind] += 1
        if len(self._report.findings) < self._config.max_findings:
            self._report.findings.append(Finding(kind, key, detail))

    # -- rows

    def _read_rows(self, held: Survey) -> None:
        for mapper in self._mappers:
            for page in row_files(self._engine, mapper):
                files = [(key, facts.size) for key, facts in page if key.backend in self._backends]
                self._report.row_files += len(files)
                for key in held.add(files):
                    self._find(SHARED, key)

    def _check_rows(self, held: Survey) -> None:
        for page in held.pages():
            with self._engine.begin() as connection:
                states = self._ledger.states(connection, page)
                for key in page:
                    if key not in states:
                        self._find(UNKNOWN_ROW, key)
                        self._adopt(connection, key, held)
                    elif states[key] is not State.LINKED:
                        self._find(MISSING, key, f"the ledger says {states[key]}")

    def _adopt(self, connection: Connection, key: ObjectKey, held: Survey) -> None:
        if self._config.repair:
            self._ledger.insert_linked(connection, {key: Facts(held.sizes([key]).get(key), None)})
            self._report.adopted += 1

    # -- entries

    def _entries(self) -> Iterator[Sequence[sa.Row[Any, Any, Any, Any, Any]]]:
        # Backend by backend, so that each page is a range of the primary key that begins where the last one ended.
        for backend in sorted(self._backends):
            last = ""
            while rows := self._page_of_entries(backend, last):
                yield rows
                last = rows[-1].key

    def _page_of_entries(self, backend: str, last: str) -> Sequence[sa.Row[Any, Any, Any, Any, Any]]:
        c = self._ledger.table.c
        statement = (
            sa.select(c.backend, c.key, c.size, c.state, (database_now() - c.not_before).label("age"))
            .where(c.state.in_(_LASTING), c.backend == backend, c.key > last)
            .order_by(c.key)
            .limit(_PAGE)
        )
        with self._engine.connect() as connection:
            return connection.execute(statement).all()

    def _check_owners(self, held: Survey) -> None:
        """Find linked entries that no row holds."""
        with Survey() as suspects, Survey() as held_again:
            for page in self._entries():
                self._report.entries += len(page)
                old = {
                    ObjectKey(row.backend, row.key)
                    for row in page
                    if row.state == State.LINKED and row.age >= self._config.minimum_age_seconds
                }
                suspects.add((key, None) for key in old - held.sizes(list(old)).keys())
            if not suspects:
                return
            # A file that changed rows while they were read page by page may have been missed in both places.
            for mapper in self._mappers:
                for files in row_files(self._engine, mapper):
                    held_again.add((key, None) for key, _ in files)
            for keys in suspects.pages():
                for key in keys:
                    if key not in held_again.sizes([key]):
                        self._unowned(key)

    def _unowned(self, key: ObjectKey) -> None:
        self._find(UNOWNED, key)
        if self._config.repair:
            with self._engine.begin() as connection:
                self._ledger.doom(connection, [key])
            self._report.doomed += 1

    def _check_entries(self, listed: Survey) -> None:
        """Compare linked entries with what the backends list."""
        for page in self._entries():
            seen = listed.sizes([ObjectKey(row.backend, row.key) for row in page])
            for row in page:
                key = ObjectKey(row.backend, row.key)
                if key not in seen:
                    self._missing(key)
                elif row.size is not None and seen[key] not in {None, row.size}:
                    self._find(SIZE, key, f"ledger {row.size}, backend {seen[key]} bytes")

    def _missing(self, key: ObjectKey) -> None:
        # The listing is older than the entry may be: look once more before saying that bytes are lost.
        backend = self._backends[key.backend]
        try:
            call(partial(backend.head, key.key), partial(backend.head_async, key.key))
        except ObjectNotFoundError:
            with self._engine.connect() as connection:
                still = self._ledger.states(connection, [key]).get(key)
            if still in _LASTING:
                self._find(MISSING, key)

    # -- objects

    def _check_backend(self, backend: StorageBackend, listed: Survey) -> None:
        total = 0
        with Survey() as untracked:
            for page in _pages(backend):
                total += len(page)
                keys = [ObjectKey(backend.key, info.key) for info in page]
                listed.add((key, info.size) for key, info in zip(keys, page, strict=True))
                with self._engine.connect() as connection:
                    states = self._ledger.states(connection, keys)
                untracked.add(
                    (key, info.size)
                    for key, info in zip(keys, page, strict=True)
                    if key not in states and self._is_old(info)
                )
            self._report.objects += total
            self._doom_untracked(backend, untracked, total)

    def _is_old(self, info: ObjectInfo) -> bool:
        return info.last_modified is None or time.time() - info.last_modified >= self._config.minimum_age_seconds

    def _doom_untracked(self, backend: StorageBackend, untracked: Survey, total: int) -> None:
        count = len(untracked)
        share = 100.0 * count / total if total else 0.0
        if self._config.repair and share > self._config.max_doomed_percent:
            raise LedgerError(
                f"{count} of {total} objects are not in the ledger ({share:.0f} %, allowed "
                f"{self._config.max_doomed_percent:.0f} %): is this the right database for this backend?",
                operation="fsck",
                backend=backend.key,
            )
        for page in untracked.pages():
            for key in page:
                self._find(UNTRACKED, key)
                if self._config.repair:
                    self._tombstone(key)

    def _tombstone(self, key: ObjectKey) -> None:
        try:
            with self._engine.begin() as connection:
                self._ledger.insert_doomed(connection, key)
        except IntegrityError:
            return  # a transaction that was open entered the object after all: the primary key decides
        self._report.doomed += 1


def _pages(backend: StorageBackend) -> Iterator[list[ObjectInfo]]:
    infos = backend.list()
    infos_async = backend.list_async()

    async def next_page() -> list[ObjectInfo]:
        page: list[ObjectInfo] = []
        async for info in infos_async:
            page.append(info)
            if len(page) == _PAGE:
                break
        return page

    while page := call(lambda: [*islice(infos, _PAGE)], next_page):
        yield page
