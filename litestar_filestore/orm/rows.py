"""All files that the rows of a mapped class hold, read in pages; and the entry of rows into the ledger."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.orm.columns import files_in, single_table_columns
from litestar_filestore.orm.ledger import Facts, Ledger, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Mapper

__all__ = ("Adoption", "adopt", "adopt_async", "mappers_with_files", "row_files")

_PAGE = 500


class Adoption(NamedTuple):
    """What `adopt` did."""

    adopted: int
    """Files that are in the ledger now."""
    known: int
    """Files that were there before."""
    shared: tuple[ObjectKey, ...]
    """Objects that several rows hold, as Advanced Alchemy makes them for equal file names: one owner each can be
    entered. Copy them (``row.file = row.file.copy()``) before anything is deleted."""


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


def row_files(engine: Engine, mapper: Mapper[Any]) -> Iterator[list[tuple[ObjectKey, Facts]]]:
    """Yield the files of all rows of a class's own table, in pages of some hundred rows."""
    columns = [column.column for column in single_table_columns(mapper)]
    keys = [column for column in mapper.local_table.primary_key if isinstance(column, sa.Column)]
    last: tuple[Any, ...] | None = None
    while True:
        statement = sa.select(*keys, *columns).select_from(mapper.local_table).order_by(*keys).limit(_PAGE)
        if last is not None:
            statement = statement.where(_after(keys, last))
        with engine.connect() as connection:
            rows = connection.execute(statement).all()
        if not rows:
            return
        yield [
            (ObjectKey(file.backend_key, file.path), Facts(file.size, file.checksum))
            for row in rows
            for value in row[len(keys) :]
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


def adopt(engine: Engine, table: Table, mappers: Sequence[Mapper[Any]]) -> Adoption:
    """Enter the files of existing rows into the ledger, for data that was written before there was one.

    Safe to run again, and while the application runs.

    Args:
        engine: Database of rows and ledger.
        table: The ledger's table.
        mappers: Mapped classes with file columns; see `mappers_with_files`.
    """
    ledger = Ledger(table)
    adopted = known = 0
    shared: dict[ObjectKey, None] = {}
    entered: set[ObjectKey] = set()
    for mapper in mappers:
        for page in row_files(engine, mapper):
            facts = dict(page)
            if len(facts) != len(page):
                shared.update({key: None for key, count in Counter(key for key, _ in page).items() if count > 1})
            with engine.begin() as connection:
                states = ledger.states(connection, list(facts))
                shared.update({key: None for key in states if key in entered})
                new = {key: each for key, each in facts.items() if key not in states}
                ledger.insert_linked(connection, new)
            entered.update(new)
            adopted += len(new)
            known += len(facts) - len(new)
    return Adoption(adopted, known, tuple(shared))


async def adopt_async(engine: AsyncEngine, table: Table, mappers: Sequence[Mapper[Any]]) -> Adoption:
    """`adopt` without blocking the event loop."""
    return await greenlet_spawn(partial(adopt, engine.sync_engine, table, mappers))
