"""Finds the ledgers in databases, and the mapped classes with rows beside each.

A process may know classes, of another application or a test, that have nothing to do with a database but whose tables
have the same names as tables in it. Their columns tell them apart.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper, configure_mappers
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import LedgerMissingError
from litestar_filestore.ledger.ledger_config import Database
from litestar_filestore.ledger.staging import schema_map, staging_engine, sync_engine
from litestar_filestore.ledger.table import LEDGER_TABLE, ledger_of, tables_of_ledger
from litestar_filestore.orm.columns import configured_mappers, file_columns, single_table_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, MetaData, Table

__all__ = (
    "Place",
    "class_names",
    "classes_with_files",
    "find_places",
    "mappers_with_files",
    "places_in",
    "run_on",
    "unhoused",
)


T = TypeVar("T")


class Place(NamedTuple):
    """One ledger: a table in a database, and the classes whose files it knows."""

    database: Database
    """Where."""
    table: sa.Table
    """The ledger's table."""
    mappers: tuple[Mapper[Any], ...]
    """Mapped classes with file columns beside it."""

    @property
    def engine(self) -> sa.Engine:
        """The sync engine of `database`."""
        return sync_engine(self.database)

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """The ledger's table as each metadata of these classes has it."""
        metadata = dict.fromkeys(_table(mapper).metadata for mapper in self.mappers)
        return tuple(table for each in metadata if (table := ledger_of(each)) is not None)

    @property
    def identity(self) -> object:
        """Equal for places that are the same, however they are reached."""
        url, schemas = self.engine.url, frozenset(schema_map(self.engine).items())
        if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
            return self.database, self.table  # each engine has a separate database in memory
        return url.get_backend_name(), url.host, url.port, url.database, schemas, self.table

    def stores_in(self, backend: str) -> bool:
        """Return whether a column of these classes stores in the backend of a key."""
        return any(column.type.storage_key == backend for mapper in self.mappers for column in file_columns(mapper))


async def run_on(database: Database, function: Callable[[sa.Engine], T]) -> T:
    """Run `function` with the engine of `database` without blocking the event loop, and return what it returns.

    With an async engine, storage is called asynchronously; with a sync one, in the worker thread of `function`.
    """
    if isinstance(database, AsyncEngine):
        return await greenlet_spawn(function, database.sync_engine)
    return await run_blocking(partial(function, database))


async def find_places(databases: Sequence[Database]) -> list[Place]:
    """Return the ledgers of those mapped classes whose rows with files are in `databases`.

    Classes that share a ledger share a place, even if their metadata differ: `fsck` has to know all rows that may hold
    an object. If a database has no file column of a class, that class has nothing to do with it, whatever the names of
    its tables.

    Raises:
        LedgerMissingError: If the rows of a class are in a database that lacks its ledger: its first file would fail.
    """
    return [place for database in databases for place in await places_in(database)]


async def places_in(database: Database, *, beside: bool = False) -> list[Place]:
    """Return the ledgers in one database; see `find_places`.

    Args:
        database: Where to look.
        beside: Whether to use the pool for short transactions, if there is one. A connection that hangs is then not one
            of the application's.

    Raises:
        LedgerMissingError: If the rows of a class are there but the ledger, or one of its tables, is missing.
    """
    configure_mappers()
    found = await run_on(database, partial(_look_into, configured_mappers(), beside=beside))
    return [Place(database, table, mappers) for table, mappers in found]


def unhoused(databases: Sequence[Database], *, named: bool, places: Sequence[Place]) -> list[Database]:
    """Return the databases that lack a ledger although they should have one.

    Args:
        databases: The databases that were examined.
        named: Whether the application has named them as databases with files. Some databases of Advanced Alchemy's
            plugin may have none, so there it is enough if one has a ledger.
        places: The ledgers that were found.
    """
    if not classes_with_files() or (places and not named):
        return []
    housed = [place.database for place in places]
    return [database for database in databases if database not in housed]


def classes_with_files() -> list[Mapper[Any]]:
    """Return the mapped classes of this process whose files a ledger has to know, one for each table."""
    configure_mappers()
    mappers = configured_mappers()
    return [
        mapper
        for metadata in _metadata_of(mappers)
        if ledger_of(metadata) is not None
        for mapper in mappers_with_files(metadata, mappers)
    ]


def mappers_with_files(metadata: MetaData, mappers: Sequence[Mapper[Any]]) -> list[Mapper[Any]]:
    """Return those of `mappers` whose own table is in `metadata` and has file columns, each table once."""
    found: dict[Any, Mapper[Any]] = {}
    for mapper in mappers:
        table = mapper.local_table
        if isinstance(table, sa.Table) and table.metadata is metadata and single_table_columns(mapper):
            base = found.get(table)
            if base is None or base.isa(mapper):
                found[table] = mapper
    return list(found.values())


def class_names(mappers: Iterable[Mapper[Any]]) -> str:
    """Return the names of mapped classes as a text."""
    return ", ".join(dict.fromkeys(mapper.class_.__name__ for mapper in mappers))


# -- one database

_Housed = tuple[sa.Table, tuple[Mapper[Any], ...]]
"""A ledger, and the classes whose rows are in the same database."""


def _look_into(mappers: Sequence[Mapper[Any]], engine: sa.Engine, *, beside: bool) -> list[_Housed]:
    engine = (staging_engine(engine) if beside else None) or engine
    with engine.connect() as connection:
        return _find_residents(connection, mappers)


def _find_residents(connection: Connection, mappers: Sequence[Mapper[Any]]) -> list[_Housed]:
    """Return the ledgers in the database of a connection; ledgers of the same name are one.

    `mappers` includes classes without file columns too: they show which tables are not the others'.
    """
    known = _Tables(connection, [_table(mapper) for mapper in mappers if isinstance(mapper.local_table, sa.Table)])
    housed: dict[tuple[str | None, str], list[Mapper[Any]]] = {}
    homeless: list[Mapper[Any]] = []
    incomplete: dict[str, None] = {}
    for metadata in _metadata_of(mappers):
        ledger = ledger_of(metadata)
        here = [mapper for mapper in mappers_with_files(metadata, mappers) if known.file_columns(mapper)]
        if ledger is None or not here:
            continue
        if known.columns(ledger):
            housed.setdefault((connection.schema_for_object(ledger), ledger.name), []).extend(here)
            incomplete |= dict.fromkeys(known.missing(tables_of_ledger(metadata)))
        else:
            homeless += [mapper for mapper in here if not known.is_anothers(mapper)]
    if homeless:
        raise LedgerMissingError(
            f"The database with the rows of {class_names(homeless)} has no table {LEDGER_TABLE!r}: create it "
            "there with the models' metadata or a migration"
        )
    if incomplete:
        raise LedgerMissingError(
            f"The ledger of the database lacks {', '.join(map(repr, incomplete))}: create it with a "
            "migration, or a missing table with the models' metadata"
        )
    readable = [_readable(known, its) for its in housed.values()]
    return [(cast("Table", ledger_of(_table(its[0]).metadata)), tuple(its)) for its in readable]


def _readable(known: _Tables, mappers: list[Mapper[Any]]) -> list[Mapper[Any]]:
    """Leave out classes that lack columns in the database, if another class shows the files of the same table.

    If no other does, the class stays, so that an error shows that its rows cannot be read. Otherwise their objects
    would count as unowned.
    """
    shown = {column for mapper in mappers if known.fits(mapper) for column in known.file_columns(mapper)}
    return [mapper for mapper in mappers if known.fits(mapper) or not known.file_columns(mapper) <= shown]


class _Tables:
    """The tables of a database that mapped classes ask for."""

    def __init__(self, connection: Connection, mapped: Iterable[Table]) -> None:
        self._connection = connection
        self._inspector = sa.inspect(connection)
        self._columns: dict[str, frozenset[str]] = {}
        self._mapped: dict[str, dict[Table, None]] = {}
        for table in mapped:
            self._mapped.setdefault(table.fullname, {})[table] = None

    def columns(self, table: Table) -> frozenset[str]:
        """Return the names of a table's columns in the database; empty if there is no such table."""
        found = self._columns.get(table.fullname)
        if found is None:
            found = self._columns[table.fullname] = self._reflect(table)
        return found

    def missing(self, tables: Iterable[Table]) -> Iterator[str]:
        """Yield the names of tables, and of columns of other tables, that are not in the database."""
        for table in tables:
            if not (there := self.columns(table)):
                yield table.name
            else:
                yield from (f"{table.name}.{column.name}" for column in table.columns if column.name not in there)

    def _reflect(self, table: Table) -> frozenset[str]:
        # The inspector itself does not apply a `schema_translate_map`.
        schema = self._connection.schema_for_object(table)
        if not self._inspector.has_table(table.name, schema=schema):
            return frozenset()
        # Databases differ in how they treat upper and lower case.
        return frozenset(each["name"].lower() for each in self._inspector.get_columns(table.name, schema=schema))

    def file_columns(self, mapper: Mapper[Any]) -> set[tuple[str, str]]:
        """Return the file columns of a class's own table that exist in the database, with the table's name."""
        there = self.columns(_table(mapper))
        names = (column.column.name.lower() for column in single_table_columns(mapper))
        return {(_table(mapper).fullname, name) for name in names if name in there}

    def fits(self, mapper: Mapper[Any]) -> bool:
        """Return whether the files of a class can be read."""
        files = {column.column.name.lower() for column in single_table_columns(mapper)}
        keys = {column.name.lower() for column in _table(mapper).primary_key}
        return files | keys <= self.columns(_table(mapper))

    def is_anothers(self, mapper: Mapper[Any]) -> bool:
        """Return whether a table is known not to be that of a class.

        It belongs to the class whose columns match exactly; if there are several, to one that has its ledger.
        """
        table = _table(mapper)
        there = set(self.columns(table))
        exact = [
            each for each in self._mapped[table.fullname] if there == {column.name.lower() for column in each.columns}
        ]
        return bool(exact) and (table not in exact or any(self._has_ledger(each.metadata) for each in exact))

    def _has_ledger(self, metadata: MetaData) -> bool:
        ledger = ledger_of(metadata)
        return ledger is None or bool(self.columns(ledger))


def _metadata_of(mappers: Iterable[Mapper[Any]]) -> list[MetaData]:
    tables = (mapper.local_table for mapper in mappers)
    return list(dict.fromkeys(table.metadata for table in tables if isinstance(table, sa.Table)))


def _table(mapper: Mapper[Any]) -> Table:
    return cast("Table", mapper.local_table)  # as `mappers_with_files` returns them
