"""Enters the files of existing rows into the ledger, in constant memory: keys are kept in a temporary file."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.errors import InvalidKeyError, UnsupportedOperationError
from litestar_filestore.ledger.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.ledger.staging import transact
from litestar_filestore.ledger.table import State
from litestar_filestore.orm.bridge import call
from litestar_filestore.orm.columns import files_in, single_table_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Mapper

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.types import ObjectInfo

__all__ = (
    "Adoption",
    "Held",
    "MissingObject",
    "SharedObject",
    "Survey",
    "adopt",
    "adopt_async",
    "enter",
    "listed_pages",
    "row_files",
    "stored_files",
    "survey_rows",
)

_PAGE = 500

OnProgress: TypeAlias = "Callable[[int, int | None], object]"
"""Called with the number of objects that a step has dealt with, and with all of them as far as that is known."""


def _tell_nobody(_done: int, _total: int | None) -> None:
    pass


class Held(NamedTuple):
    """One file in a row."""

    object: ObjectKey
    """The object."""
    facts: Facts
    """Size and digest from the row."""
    place: str
    """Its place, in readable form: class, primary key and attribute."""


class Survey:
    """Keys with an optional size, in a private temporary SQLite file that is deleted with the context."""

    def __init__(self) -> None:
        """Make the file."""
        self._folder = tempfile.TemporaryDirectory(prefix="litestar-filestore-survey-")
        self._database = sqlite3.connect(Path(self._folder.name) / "survey.db", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA temp_store = file;"
            "CREATE TABLE seen (backend TEXT, key TEXT, size INTEGER, checksum TEXT, place TEXT,"
            " PRIMARY KEY (backend, key)) WITHOUT ROWID;"
            # Keys seen more than once; these are rare, so most keys need no other index.
            "CREATE TABLE again (backend TEXT, key TEXT, place TEXT);"
            "CREATE INDEX again_key ON again (backend, key);"
        )

    def __enter__(self) -> Self:
        """Return the survey."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    def __len__(self) -> int:
        """Return the number of keys."""
        return int(self._database.execute("SELECT count(*) FROM seen").fetchone()[0])

    def add(self, entries: Iterable[tuple[ObjectKey, int | None]]) -> list[ObjectKey]:
        """Add keys, and return those that were there already."""
        repeated: list[ObjectKey] = []
        self._database.execute("BEGIN")
        for key, size in entries:
            if not self._insert(key, size, None, None):
                repeated.append(key)
        self._database.execute("COMMIT")
        return repeated

    def hold(self, files: Iterable[Held]) -> None:
        """Add files of rows, and count how many places hold each object."""
        self._database.execute("BEGIN")
        for key, facts, place in files:
            if not self._insert(key, facts.size, facts.checksum, place):
                self._database.execute("INSERT INTO again VALUES (?, ?, ?)", (*key, place))
        self._database.execute("COMMIT")

    def _insert(self, key: ObjectKey, *known: object) -> bool:
        return bool(
            self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)", (*key, *known)).rowcount
        )

    def sizes(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, int | None]:
        """Return the sizes of those keys that were added."""
        found: dict[ObjectKey, int | None] = {}
        for key in keys:
            row = self._database.execute("SELECT size FROM seen WHERE backend = ? AND key = ?", key).fetchone()
            if row is not None:
                found[key] = row[0]
        return found

    def facts(self, key: ObjectKey) -> Facts:
        """Return what the first row said about an object."""
        query = "SELECT size, checksum FROM seen WHERE backend = ? AND key = ?"
        return Facts(*self._database.execute(query, key).fetchone())

    def holders(self, key: ObjectKey) -> int:
        """Return how many places hold an object; a row may hold it in more than one."""
        (once,) = self._database.execute("SELECT count(*) FROM seen WHERE backend = ? AND key = ?", key).fetchone()
        (more,) = self._database.execute("SELECT count(*) FROM again WHERE backend = ? AND key = ?", key).fetchone()
        return int(once + more)

    def places(self, key: ObjectKey, count: int) -> tuple[str, ...]:
        """Return up to `count` of the places that hold an object."""
        query = (
            "SELECT place FROM seen WHERE backend = :b AND key = :k "
            "UNION ALL SELECT place FROM again WHERE backend = :b AND key = :k LIMIT :n"
        )
        rows = self._database.execute(query, {"b": key.backend, "k": key.key, "n": count})
        return tuple(place for (place,) in rows)

    def __iter__(self) -> Iterator[ObjectKey]:
        """Yield all keys, sorted."""
        return chain.from_iterable(self.pages())

    def pages(self) -> Iterator[list[ObjectKey]]:
        """Yield all keys, sorted, some hundreds at a time."""
        last: tuple[str, str] = ("", "")
        while rows := self._database.execute(
            "SELECT backend, key FROM seen WHERE (backend, key) > (?, ?) ORDER BY backend, key LIMIT ?", (*last, _PAGE)
        ).fetchall():
            yield [ObjectKey(*row) for row in rows]
            last = rows[-1]


_ATTEMPTS = 10
_MAX_NAMED = 1000
_MAX_PLACES = 10


class SharedObject(NamedTuple):
    """An object that several rows hold, or that one row holds in several places."""

    object: ObjectKey
    """The object."""
    places: tuple[str, ...]
    """Its places, as ``"Document(5).file"``: class, primary key and attribute; the first ten places."""
    holders: int
    """Number of places."""


class MissingObject(NamedTuple):
    """An object that rows hold, and that their backend does not."""

    object: ObjectKey
    """The object."""
    places: tuple[str, ...]
    """Its places, as in `SharedObject`."""


class Adoption(NamedTuple):
    """The outcome of `adopt`."""

    adopted: int
    """Objects that are in the ledger now."""
    known: int
    """Objects that were there before."""
    shared: tuple[SharedObject, ...] = ()
    """Objects that several rows hold, as Advanced Alchemy makes them for equal file names; the first thousand.

    None of them is deleted while a row holds it, whatever happens to the others. To give each row a file of its own,
    assign a copy: ``row.file = row.file.copy()``. `fsck` with `FsckConfig.repair` then hands the object to the last row
    that holds it."""
    shared_count: int = 0
    """Number of such objects."""
    missing: tuple[MissingObject, ...] = ()
    """Objects without bytes, of the backends that were given; the first thousand. Their rows have lost their files
    already: restore the objects, or clear the columns."""
    missing_count: int = 0
    """Number of such objects."""


def stored_files(engine: Engine, mapper: Mapper[Any]) -> Iterator[list[FileObject]]:
    """Yield what all rows of a class's own table say about their files, in pages of some hundred rows."""
    for page in _pages_of_values(mapper, _reader_of(engine)):
        yield [file for _, file in page]


def row_files(engine: Engine, mapper: Mapper[Any]) -> Iterator[list[Held]]:
    """Yield the files of all rows of a class's own table, in pages of some hundred rows."""
    return _pages_of_files(mapper, _reader_of(engine))


_Read: TypeAlias = "Callable[[sa.Select[Any]], Sequence[sa.Row[Any]]]"


def _reader_of(engine: Engine) -> _Read:
    """Return a function that reads with a connection that is given back after each page."""

    def read(statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with engine.connect() as connection:
            return connection.execute(statement).all()

    return read


def _pages_of_files(mapper: Mapper[Any], read: _Read) -> Iterator[list[Held]]:
    for page in _pages_of_values(mapper, read):
        yield [
            Held(ObjectKey(file.backend_key, file.path), Facts(file.size, file.checksum), place) for place, file in page
        ]


def _pages_of_values(mapper: Mapper[Any], read: _Read) -> Iterator[list[tuple[str, FileObject]]]:
    """Yield each file with its place."""
    columns = single_table_columns(mapper)
    keys = [column for column in mapper.local_table.primary_key if isinstance(column, sa.Column)]
    selected = sa.select(*keys, *(column.column for column in columns)).select_from(mapper.local_table)
    last: tuple[Any, ...] | None = None
    while True:
        statement = selected.order_by(*keys).limit(_PAGE)
        rows = read(statement if last is None else statement.where(_after(keys, last)))
        if not rows:
            return
        yield [
            (f"{mapper.class_.__name__}({', '.join(map(str, row[: len(keys)]))}).{column.key}", file)
            for row in rows
            for column, value in zip(columns, row[len(keys) :], strict=True)
            for file in files_in(value)
        ]
        last = tuple(rows[-1][: len(keys)])


def _after(keys: Sequence[sa.Column[Any]], last: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    """Return the condition that the primary key is greater than `last`; not every database compares tuples."""
    greater = sa.or_(
        *(
            sa.and_(*(keys[before] == last[before] for before in range(index)), key > last[index])
            for index, key in enumerate(keys)
        )
    )
    # Redundant, but tells the database where in the index to begin.
    return sa.and_(keys[0] >= last[0], greater)


@contextmanager
def _snapshot(engine: Engine) -> Generator[Connection]:
    """Read everything in one snapshot: a file that moves between rows meanwhile is seen in exactly one of them."""
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**level) as connection:
        if engine.dialect.name == "sqlite" and not getattr(
            connection.connection.driver_connection, "in_transaction", True
        ):
            connection.exec_driver_sql("BEGIN")  # sqlite3 begins no transaction for a SELECT
        yield connection
        connection.rollback()


def survey_rows(
    engine: Engine, mappers: Sequence[Mapper[Any]], held: Survey, on_progress: OnProgress = _tell_nobody
) -> None:
    """Record what rows hold, in one snapshot.

    An object in the ledger gets no further holder: another row that wants it is refused. So the number of holders of an
    existing entry can only decrease later.
    """
    read = 0
    with _snapshot(engine) as connection:
        for mapper in mappers:
            for page in _pages_of_files(mapper, lambda statement: connection.execute(statement).all()):
                held.hold(page)
                read += len(page)
                on_progress(read, None)


def listed_pages(backend: StorageBackend) -> Iterator[list[ObjectInfo]]:
    """Yield what a backend lists, some hundred objects at a time."""
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


def _missing(held: Survey, backends: Sequence[StorageBackend], on_progress: OnProgress) -> Iterator[ObjectKey]:
    """Yield the objects of these backends that rows hold and that are not there."""
    by_key = {backend.key: backend for backend in backends}
    count, total = 0, len(held)
    with Survey() as listed:
        for backend in backends:
            with suppress(UnsupportedOperationError):  # of a backend that cannot list, each object is looked up
                for infos in listed_pages(backend):
                    listed.add((ObjectKey(backend.key, info.key), info.size) for info in infos)
                    count += len(infos)
                    on_progress(count, max(count, total))
        for page in held.pages():
            seen = listed.sizes(page)
            for key in page:
                if key in seen or (found := by_key.get(key.backend)) is None:
                    continue
                if not _is_there(found, key.key):
                    yield key


def _is_there(backend: StorageBackend, key: str) -> bool:
    try:
        return call(partial(backend.exists, key), partial(backend.exists_async, key))
    except InvalidKeyError:  # a row may say anything
        return False


def adopt(
    engine: Engine,
    table: Table,
    mappers: Sequence[Mapper[Any]],
    backends: Sequence[StorageBackend] = (),
    on_progress: OnProgress = _tell_nobody,
) -> Adoption:
    """Enter the files of existing rows into the ledger, for data that is older than the ledger.

    Objects that several rows hold are entered as shared, even if an earlier run has entered them for one of the rows.
    You may run it again, and while the application runs. It reads all rows in one transaction; on SQLite without a
    write-ahead log, others cannot write meanwhile.

    Args:
        engine: Database of rows and ledger.
        table: The ledger's table.
        mappers: All mapped classes with file columns that use this ledger; see `mappers_with_files`. If you leave one
            out, objects that it shares with others are not recognised as shared.
        backends: Backends whose objects are compared with the rows, to find rows that have lost their bytes; the
            comparison lists each of them once. None are compared unless you give some.
        on_progress: Called after each page of the rows, of the ledger and of the stores, one after the other, with the
            number of objects so far and in all; ``None`` while that is not known.
    """
    ledger = Ledger(table)
    adopted = known = shared_count = 0
    named: list[SharedObject] = []
    with Survey() as held:
        survey_rows(engine, mappers, held, on_progress)
        total = len(held)
        for page in held.pages():
            entered = enter(engine, ledger, held, page)
            adopted += entered
            known += len(page) - entered
            shared = [(key, count) for key in page if (count := held.holders(key)) > 1]
            shared_count += len(shared)
            room = shared[: _MAX_NAMED - len(named)]
            named += [SharedObject(key, held.places(key, _MAX_PLACES), count) for key, count in room]
            on_progress(adopted + known, total)
        lost: list[MissingObject] = []
        missing_count = 0
        for key in _missing(held, backends, on_progress) if backends else ():
            missing_count += 1
            if len(lost) < _MAX_NAMED:
                lost.append(MissingObject(key, held.places(key, _MAX_PLACES)))
    return Adoption(adopted, known, tuple(named), shared_count, tuple(lost), missing_count)


def enter(engine: Engine, ledger: Ledger, held: Survey, page: Sequence[ObjectKey]) -> int:
    """Enter objects that rows hold, mark the shared ones, and return how many the ledger did not know."""
    for _ in range(_ATTEMPTS):
        with suppress(IntegrityError):  # a transaction that was open has entered one meanwhile
            return transact(engine, partial(_enter, ledger, held, page))
    return transact(engine, partial(_enter, ledger, held, page))


def _enter(ledger: Ledger, held: Survey, page: Sequence[ObjectKey], connection: Connection) -> int:
    states = ledger.states(connection, page)
    shared = {key for key in page if held.holders(key) > 1}
    new = {key: held.facts(key) for key in page if key not in states}
    ledger.insert(connection, {key: facts for key, facts in new.items() if key not in shared}, State.LINKED)
    ledger.insert(connection, {key: facts for key, facts in new.items() if key in shared}, State.SHARED)
    ledger.change(connection, [key for key in shared if key in states], State.LINKED, State.SHARED)
    return len(new)


async def adopt_async(
    engine: AsyncEngine,
    table: Table,
    mappers: Sequence[Mapper[Any]],
    backends: Sequence[StorageBackend] = (),
    on_progress: OnProgress = _tell_nobody,
) -> Adoption:
    """`adopt` without blocking the event loop."""
    return await greenlet_spawn(partial(adopt, engine.sync_engine, table, mappers, backends, on_progress))
