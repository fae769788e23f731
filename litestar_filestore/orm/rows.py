"""All files that the rows of a mapped class hold, read in pages; and the entry of rows into the ledger."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.orm.columns import files_in, single_table_columns
from litestar_filestore.orm.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.orm.ledger_table import State
from litestar_filestore.orm.survey import Held, Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Mapper

__all__ = (
    "Adoption",
    "SharedObject",
    "adopt",
    "adopt_async",
    "enter",
    "mappers_with_files",
    "row_files",
    "survey_rows",
)

_PAGE = 500
_ATTEMPTS = 10
_MAX_SHARED = 1000
_MAX_PLACES = 10


class SharedObject(NamedTuple):
    """An object that several rows hold, or one row in several places."""

    object: ObjectKey
    """Which object."""
    places: tuple[str, ...]
    """Where it is, as ``"Document(5).file"``: class, primary key and attribute; the first ten places."""
    holders: int
    """How many places there are."""


class Adoption(NamedTuple):
    """What `adopt` did."""

    adopted: int
    """Objects that are in the ledger now."""
    known: int
    """Objects that were there before."""
    shared: tuple[SharedObject, ...] = ()
    """Objects that several rows hold, as Advanced Alchemy makes them for equal file names; the first thousand of them.

    None of them is deleted while a row holds it, whatever happens to the others. To give each row a file of its own,
    assign a copy: ``row.file = row.file.copy()``. `fsck` with `FsckConfig.repair` then hands the object to the last row
    that holds it."""
    shared_count: int = 0
    """How many such objects there are."""


def mappers_with_files(metadata: sa.MetaData, mappers: Sequence[Mapper[Any]]) -> list[Mapper[Any]]:
    """Return those of `mappers` whose own table lies in `metadata` and has file columns, each table once."""
    found: dict[Any, Mapper[Any]] = {}
    for mapper in mappers:
        table = mapper.local_table
        if isinstance(table, sa.Table) and table.metadata is metadata and single_table_columns(mapper):
            base = found.get(table)
            if base is None or base.isa(mapper):
                found[table] = mapper
    return list(found.values())


def row_files(engine: Engine, mapper: Mapper[Any]) -> Iterator[list[Held]]:
    """Yield the files of all rows of a class's own table, in pages of some hundred rows."""

    def read(statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with engine.connect() as connection:
            return connection.execute(statement).all()

    return _pages_of_files(mapper, read)


def _pages_of_files(
    mapper: Mapper[Any], read: Callable[[sa.Select[Any]], Sequence[sa.Row[Any]]]
) -> Iterator[list[Held]]:
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
            Held(
                ObjectKey(file.backend_key, file.path),
                Facts(file.size, file.checksum),
                f"{mapper.class_.__name__}({', '.join(map(str, row[: len(keys)]))}).{column.key}",
            )
            for row in rows
            for column, value in zip(columns, row[len(keys) :], strict=True)
            for file in files_in(value)
        ]
        last = tuple(rows[-1][: len(keys)])


def _after(keys: Sequence[sa.Column[Any]], last: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    """Return "the primary key is greater than `last`", spelled out: not every database compares tuples."""
    greater = sa.or_(
        *(
            sa.and_(*(keys[before] == last[before] for before in range(index)), key > last[index])
            for index, key in enumerate(keys)
        )
    )
    # Says nothing new, but tells the database where in the index to begin.
    return sa.and_(keys[0] >= last[0], greater)


@contextmanager
def _snapshot(engine: Engine) -> Generator[Connection]:
    """Read everything as it is at one moment: a file that changes rows meanwhile is seen in exactly one of them."""
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**level) as connection:
        if engine.dialect.name == "sqlite" and not getattr(
            connection.connection.driver_connection, "in_transaction", True
        ):
            connection.exec_driver_sql("BEGIN")  # sqlite3 begins nothing for a SELECT
        yield connection
        connection.rollback()


def survey_rows(engine: Engine, mappers: Sequence[Mapper[Any]], held: Survey) -> None:
    """Note what rows hold at one moment.

    What is entered in the ledger gets no further holder: a row that wants it is refused. So the number of holders of
    an entry that was there before can only be smaller later.
    """
    with _snapshot(engine) as connection:
        for mapper in mappers:
            for page in _pages_of_files(mapper, lambda statement: connection.execute(statement).all()):
                held.hold(page)


def adopt(engine: Engine, table: Table, mappers: Sequence[Mapper[Any]]) -> Adoption:
    """Enter the files of existing rows into the ledger, for data that was written before there was one.

    Objects that several rows hold are entered as shared, also those that an earlier run has entered for one of them.
    Safe to run again, and while the application runs. All rows are read in one transaction; on SQLite without a
    write-ahead log, others cannot write meanwhile.

    Args:
        engine: Database of rows and ledger.
        table: The ledger's table.
        mappers: All mapped classes with file columns that use this ledger; see `mappers_with_files`. What one left out
            holds as well is not seen to be shared.
    """
    ledger = Ledger(table)
    adopted = known = shared_count = 0
    named: list[SharedObject] = []
    with Survey() as held:
        survey_rows(engine, mappers, held)
        for page in held.pages():
            entered = enter(engine, ledger, held, page)
            adopted += entered
            known += len(page) - entered
            shared = [(key, count) for key in page if (count := held.holders(key)) > 1]
            shared_count += len(shared)
            room = shared[: _MAX_SHARED - len(named)]
            named += [SharedObject(key, held.places(key, _MAX_PLACES), count) for key, count in room]
    return Adoption(adopted, known, tuple(named), shared_count)


def enter(engine: Engine, ledger: Ledger, held: Survey, page: Sequence[ObjectKey]) -> int:
    """Enter objects that rows hold, and return how many the ledger did not know; mark those that are shared."""
    for _ in range(_ATTEMPTS):
        try:
            with engine.begin() as connection:
                return _enter(connection, ledger, held, page)
        except IntegrityError:
            continue  # a transaction that was open has entered one meanwhile
    with engine.begin() as connection:
        return _enter(connection, ledger, held, page)


def _enter(connection: Connection, ledger: Ledger, held: Survey, page: Sequence[ObjectKey]) -> int:
    states = ledger.states(connection, page)
    shared = {key for key in page if held.holders(key) > 1}
    new = {key: held.facts(key) for key in page if key not in states}
    ledger.insert_linked(connection, {key: facts for key, facts in new.items() if key not in shared})
    ledger.insert_shared(connection, {key: facts for key, facts in new.items() if key in shared})
    ledger.change(connection, [key for key in shared if key in states], State.LINKED, State.SHARED)
    return len(new)


async def adopt_async(engine: AsyncEngine, table: Table, mappers: Sequence[Mapper[Any]]) -> Adoption:
    """`adopt` without blocking the event loop."""
    return await greenlet_spawn(partial(adopt, engine.sync_engine, table, mappers))
