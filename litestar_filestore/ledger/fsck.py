"""Compares rows, ledger and backends in both directions, and repairs differences."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.backend import Guard
from litestar_filestore.core.keys import RESERVED_SEGMENT, join_prefix
from litestar_filestore.core.part_objects import unfinished_key
from litestar_filestore.core.types import PutOptions
from litestar_filestore.errors import BucketNotFoundError, LedgerError, ObjectNotFoundError
from litestar_filestore.ledger.adopt import Survey, enter, listed_pages, row_files, survey_rows
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.staging import transact
from litestar_filestore.ledger.table import USAGE_TABLE, State
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Engine, Row, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Mapper

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import ObjectInfo

__all__ = (
    "UNTRACKED",
    "Finding",
    "FsckConfig",
    "FsckReport",
    "fsck",
    "fsck_async",
)

UNTRACKED = "untracked object"
"""Kind of a finding: an object that the ledger does not know."""
MISSING = "missing object"
"""Kind of a finding: a row or entry whose object is missing."""
SIZE = "size mismatch"
"""Kind of a finding: an object of another size than its entry says."""
UNKNOWN_ROW = "row without ledger"
"""Kind of a finding: a file in a row that the ledger does not know."""
UNOWNED = "linked without row"
"""Kind of a finding: a linked entry that no row holds."""
SHARED = "object of several rows"
"""Kind of a finding: an object that several rows hold without the ledger knowing it: deleting one row would delete the
file of the others. Repaired by entering it as shared."""
UNSHARED = "shared object of one row or none"
"""Kind of a finding: an object that several rows held. Repaired by handing it to the last one, or dooming it."""

DRIFT = "wrong counter"
"""Kind of a finding: an owner's counter that says something else than the entries. Its object is the owner, in the
table of the counters. Repaired by counting again."""


@dataclass
class FsckConfig:
    """Limits and permissions of one run."""

    repair: bool = False
    """Whether to enter rows without a ledger entry, to doom objects that nothing needs, and to count again for owners
    whose counter is wrong. ``False`` only reports."""
    minimum_age_seconds: float = 24 * 3600.0
    """Objects and entries younger than this are left alone: their transaction may be open."""
    max_doomed_percent: float = 10.0
    """Refuse to doom more than this share of the objects of a backend; 100 allows everything."""
    max_findings: int = 1000
    """Most findings in the report; all are counted and repaired."""
    on_progress: Callable[[FsckReport], object] | None = None
    """Called with the unfinished report after each page of objects, in the thread that works; must not block."""


class Finding(NamedTuple):
    """One difference."""

    kind: str
    """One of the kinds in this module, such as ``"missing object"``."""
    object: ObjectKey
    """The object."""
    detail: str = ""
    """Details."""


@dataclass
class FsckReport:
    """The outcome of one run."""

    objects: int = 0
    """Objects listed."""
    entries: int = 0
    """Linked entries of the ledger."""
    row_files: int = 0
    """Files in rows."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Findings by kind."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first findings."""
    adopted: int = 0
    """Files in rows that got an entry."""
    unshared: int = 0
    """Shared objects that were handed to their only remaining row."""
    doomed: int = 0
    """Objects that were handed to the sweeper."""
    recounted: int = 0
    """Owners whose counter was set right."""
    young: int = 0
    """Unknown objects that were left alone, because they are younger than the minimum age."""
    elsewhere: Counter[str] = field(default_factory=Counter[str])
    """Files in rows that were not compared, by their backends, which were not given."""

    @property
    def is_clean(self) -> bool:
        """Whether there are no differences."""
        return not self.counts


_MARKER = f"{RESERVED_SEGMENT}/database"
"""Key of the object that says which database a backend belongs to."""
_PAGE = 500
_LASTING = (State.LINKED, State.SHARED, State.KEPT)
"""States of entries whose objects have to exist."""
_HELD = (State.LINKED, State.SHARED)
"""States of entries whose objects are held by rows."""
_PLACES = 5


def fsck(
    engine: Engine,
    table: Table,
    mappers: Sequence[Mapper[Any]],
    backends: Sequence[StorageBackend],
    config: FsckConfig | None = None,
) -> FsckReport:
    """Compare rows, ledger and backends, and repair with ``config.repair``.

    Args:
        engine: Database of rows and ledger.
        table: The ledger's table.
        mappers: All mapped classes with file columns on this database. One left out makes its files look unowned.
        backends: The backends to list. Entries of other backends are not checked.
        config: What it may do; ``None`` only reports.

    Raises:
        LedgerError: If a backend is marked as another database's, or more would be doomed than allowed. Nothing has
            been repaired then.
        LedgerMissingError: If the database lacks a table of the ledger.
    """
    with _Fsck(engine, Ledger(table), mappers, backends, config or FsckConfig()) as check:
        check.look()
        if check.config.repair:
            check.judge()
            check.mend()
        return check.report


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
    """One run. It keeps what it has seen in temporary files, so its memory does not grow with the number of objects."""

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
        self.config = config
        self.report = FsckReport()
        self._objects: Counter[str] = Counter()
        self._doomed: Counter[str] = Counter()
        self._drifting: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._listed, self._held, self._unowned, self._unshared, self._untracked = (
            self._stack.enter_context(Survey()) for _ in range(5)
        )
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def look(self) -> None:
        """Find differences, and record what rows hold and what nothing needs."""
        with guard_database():
            identity = self._database_id()
        for backend in self._backends.values():
            _check_marker(backend, identity, claim=self.config.repair)
        self._read_rows()
        self._check_rows()
        self._check_owners()
        for backend in self._backends.values():
            self._check_backend(backend)
        self._check_entries()
        self._check_counters()

    def judge(self) -> None:
        """Refuse to doom too much of a backend."""
        for backend, count in self._doomed.items():
            total = self._objects[backend]
            share = 100.0 * count / total if total else 100.0
            if share > self.config.max_doomed_percent:
                raise LedgerError(
                    f"{count} of {total} objects have no row or are not in the ledger ({share:.0f} %, allowed "
                    f"{self.config.max_doomed_percent:.0f} %): is this the right database for this backend, and are "
                    "all classes with files known?",
                    operation="fsck",
                    backend=backend,
                )

    def mend(self) -> None:
        """Adopt what rows hold, and doom what nothing needs."""
        if self._unshared or self.report.counts[UNKNOWN_ROW] or self.report.counts[SHARED]:
            # Again, in one snapshot: a file that moved between rows while they were read may have been missed.
            with Survey() as held:
                survey_rows(self._engine, self._mappers, held)
                self._adopt(held)
                self._unshare(held)
        for key in self._unowned:
            transact(self._engine, partial(self._ledger.doom, keys=[key]))
            self.report.doomed += 1
        for key in self._untracked:
            self._tombstone(key)
        for owner in self._drifting:
            transact(self._engine, partial(self._ledger.recount, owner=owner))
            self.report.recounted += 1

    def _adopt(self, held: Survey) -> None:
        for page in held.pages():
            here = [key for key in page if key.backend in self._backends]
            self.report.adopted += enter(self._engine, self._ledger, held, here)

    def _unshare(self, held: Survey) -> None:
        """Hand shared objects to the one row that holds them, and doom those that none does."""
        for page in self._unshared.pages():
            by_count: dict[int, list[ObjectKey]] = {0: [], 1: []}
            for key in page:
                by_count.setdefault(held.holders(key), []).append(key)
            handed, doomed = transact(self._engine, partial(self._let_go, by_count[1], by_count[0]))
            self.report.unshared += handed
            self.report.doomed += doomed

    def _let_go(
        self, of_one: Sequence[ObjectKey], of_none: Sequence[ObjectKey], connection: Connection
    ) -> tuple[int, int]:
        handed = self._ledger.change(connection, of_one, State.SHARED, State.LINKED)
        return handed, self._ledger.change(connection, of_none, State.SHARED, State.DOOMED)

    def _tombstone(self, key: ObjectKey) -> None:
        try:
            transact(self._engine, partial(self._ledger.insert, facts={key: None}, state=State.DOOMED))
        except IntegrityError:
            return  # an open transaction has entered the object after all: the primary key decides
        self.report.doomed += 1

    def _find(self, kind: str, key: ObjectKey, detail: str = "") -> None:
        self.report.counts[kind] += 1
        if len(self.report.findings) < self.config.max_findings:
            self.report.findings.append(Finding(kind, key, detail))

    def _database_id(self) -> str:
        """Return the identity of this database; the first call makes it."""
        with self._engine.connect() as connection:
            found = self._ledger.database_id(connection)
        if found is None:
            with suppress(IntegrityError):  # another process was faster
                transact(self._engine, partial(self._ledger.insert_database_id, identity=secrets.token_hex(16)))
            return self._database_id()
        return found

    # -- rows

    def _read_rows(self) -> None:
        for mapper in self._mappers:
            for page in row_files(self._engine, mapper):
                files = [file for file in page if file.object.backend in self._backends]
                self.report.row_files += len(files)
                self.report.elsewhere.update(
                    file.object.backend for file in page if file.object.backend not in self._backends
                )
                self._held.hold(files)

    def _check_rows(self) -> None:
        for page in self._held.pages():
            with self._engine.connect() as connection:
                states = self._ledger.states(connection, page)
            for key in page:
                state = states.get(key)
                if state is None:
                    self._find(UNKNOWN_ROW, key)
                elif state not in _HELD:
                    self._find(MISSING, key, f"the ledger says {state}")
                if state is not State.SHARED and self._held.holders(key) > 1:
                    self._find(SHARED, key, ", ".join(self._held.places(key, _PLACES)))

    # -- entries

    def _entries(self) -> Iterator[Sequence[Row[Any, Any, Any, Any, Any]]]:
        # Backend by backend, so that each page is a range of the primary key that begins where the last one ended.
        for backend in sorted(self._backends):
            last = ObjectKey(backend, "")
            while rows := self._entries_after(last):
                yield rows
                last = ObjectKey(backend, rows[-1].key)

    def _entries_after(self, last: ObjectKey) -> Sequence[Row[Any, Any, Any, Any, Any]]:
        with self._engine.connect() as connection:
            return self._ledger.entries(connection, _LASTING, after=last, limit=_PAGE)

    def _check_owners(self) -> None:
        """Find linked entries that no row holds, and shared ones that are not held by several."""
        with Survey() as suspects, Survey() as lonely, Survey() as held_again:
            for page in self._entries():
                self.report.entries += len(page)
                old = [row for row in page if row.age >= self.config.minimum_age_seconds]
                linked = {ObjectKey(row.backend, row.key) for row in old if row.state == State.LINKED}
                suspects.add((key, None) for key in linked - self._held.sizes(list(linked)).keys())
                shared = (ObjectKey(row.backend, row.key) for row in old if row.state == State.SHARED)
                lonely.add((key, None) for key in shared if self._held.holders(key) <= 1)
            if not (suspects or lonely):
                return
            # A file that moved between rows while they were read page by page may have been missed in both places.
            for mapper in self._mappers:
                for files in row_files(self._engine, mapper):
                    held_again.hold(files)
            for key in suspects:
                if not held_again.holders(key):
                    self._find(UNOWNED, key)
                    self._doomed[key.backend] += 1
                    self._unowned.add([(key, None)])
            for key in lonely:
                if (holders := held_again.holders(key)) <= 1:
                    self._find(UNSHARED, key, f"{holders} rows hold it")
                    self._doomed[key.backend] += int(not holders)
                    self._unshared.add([(key, None)])

    def _check_entries(self) -> None:
        """Compare linked entries with what the backends list."""
        for page in self._entries():
            seen = self._listed.sizes([ObjectKey(row.backend, row.key) for row in page])
            for row in page:
                key = ObjectKey(row.backend, row.key)
                if key not in seen:
                    self._missing(key)
                elif row.size is not None and seen[key] not in {None, row.size}:
                    self._find(SIZE, key, f"ledger {row.size}, backend {seen[key]} bytes")

    def _check_counters(self) -> None:
        """Compare the counters of owners with all entries, also those of other backends."""
        with self._engine.connect() as connection:
            drifts = self._ledger.drifts(connection)
        for owner, drift in drifts.items():
            wrong = ", ".join(f"{name} {count:+}" for name, count in drift._asdict().items() if count)
            self._find(DRIFT, ObjectKey(USAGE_TABLE, owner), f"off by {wrong}")
        self._drifting = tuple(drifts)

    def _missing(self, key: ObjectKey) -> None:
        # The listing may be older than the entry: check once more before reporting that bytes are lost.
        backend = self._backends[key.backend]
        try:
            call(partial(backend.head, key.key), partial(backend.head_async, key.key))
        except ObjectNotFoundError:
            with self._engine.connect() as connection:
                still = self._ledger.states(connection, [key]).get(key)
            if still in _LASTING:
                self._find(MISSING, key)

    # -- objects

    def _check_backend(self, backend: StorageBackend) -> None:
        for page in listed_pages(backend):
            infos = {ObjectKey(backend.key, info.key): info for info in page}
            self._listed.add((key, info.size) for key, info in infos.items())
            # The parts of an object belong to its key until the object is finished or given up.
            whole = {key: ObjectKey(key.backend, of) for key in infos if (of := unfinished_key(key.key)) is not None}
            with self._engine.connect() as connection:
                entered = self._ledger.states(connection, [*{*infos, *whole.values()}])
            # What a row holds is adopted.
            known = entered.keys() | self._held.sizes(list(infos)).keys()
            known |= {part for part, key in whole.items() if entered.get(key) is State.STAGED}
            unknown = {key: info for key, info in infos.items() if key not in known}
            strays = [(key, info.size) for key, info in unknown.items() if self._is_old(info)]
            self.report.young += len(unknown) - len(strays)
            for key, _ in strays:
                self._find(UNTRACKED, key)
            self._untracked.add(strays)
            self._objects[backend.key] += len(page)
            self._doomed[backend.key] += len(strays)
            self.report.objects += len(page)
            if self.config.on_progress is not None:
                self.config.on_progress(self.report)

    def _is_old(self, info: ObjectInfo) -> bool:
        return info.last_modified is None or time.time() - info.last_modified >= self.config.minimum_age_seconds


def _check_marker(backend: StorageBackend, identity: str, *, claim: bool) -> None:
    """Make sure that `backend` belongs to this database, and with `claim` mark it if it has no mark.

    Raises:
        LedgerError: If it is marked as another database's.
    """
    driver, path = backend.storage_driver, join_prefix(backend.prefix or "", _MARKER)

    async def read() -> bytes:
        return b"".join([block async for block in driver.get_async(path, 0, None)])

    try:
        with Guard(driver, backend.key, "fsck", _MARKER):
            theirs = call(lambda: b"".join(driver.get(path, 0, None)), read).decode()
    except ObjectNotFoundError:
        if claim:
            _mark(backend, path, identity.encode())
        return
    except BucketNotFoundError:
        return  # the listing reports this, or finds nothing
    if theirs != identity:
        raise LedgerError(
            "This backend belongs to another database: run fsck there. If the databases were separated on purpose, "
            f"delete its object {_MARKER!r}",
            operation="fsck",
            backend=backend.key,
        )


def _mark(backend: StorageBackend, path: str, content: bytes) -> None:
    driver, options = backend.storage_driver, PutOptions(size=len(content))

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield content

    with Guard(driver, backend.key, "fsck", _MARKER):
        call(partial(driver.put, path, iter([content]), options), partial(driver.put_async, path, blocks(), options))
