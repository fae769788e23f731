"""Which mapped classes have their rows, and their ledger, in a database.

A process may know classes that have nothing to do with a database, and whose tables are called as tables in it are: of
another application, of a test. They are told apart by their columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sa

from litestar_filestore.ledger.adopt import mappers_with_files
from litestar_filestore.ledger.table import ledger_of
from litestar_filestore.orm.columns import single_table_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, MetaData, Table
    from sqlalchemy.orm import Mapper

__all__ = (
    "Residents",
    "find_ledgered",
    "find_residents",
)


class Residents(NamedTuple):
    """Mapped classes with rows that hold files in a database."""

    housed: list[tuple[Table, tuple[Mapper[Any], ...]]]
    """Together with their ledger, which is in the database as well. Ledgers of one name are one."""
    homeless: list[Mapper[Any]]
    """Those whose ledger is not there."""


def find_residents(connection: Connection, mappers: Sequence[Mapper[Any]]) -> Residents:
    """Return those of `mappers` that have rows with files in the database of a connection.

    Args:
        connection: Looks at the database.
        mappers: All classes that the process knows, also those without file columns: they tell what is not theirs.
    """
    mapped = [_table(mapper) for mapper in mappers if isinstance(mapper.local_table, sa.Table)]
    known = _Tables(connection, mapped)
    housed: dict[tuple[str | None, str], list[Mapper[Any]]] = {}
    homeless: list[Mapper[Any]] = []
    for metadata in dict.fromkeys(table.metadata for table in mapped):
        ledger = ledger_of(metadata)
        here = [mapper for mapper in mappers_with_files(metadata, mappers) if known.has_files_of(mapper)]
        if ledger is None or not here:
            continue
        if known.columns(ledger):
            housed.setdefault((connection.schema_for_object(ledger), ledger.name), []).extend(here)
        else:
            homeless += [mapper for mapper in here if not known.is_anothers(mapper)]
    return Residents([_with_ledger(_readable(known, its)) for its in housed.values()], homeless)


def find_ledgered(mappers: Sequence[Mapper[Any]]) -> list[Mapper[Any]]:
    """Return those of `mappers` that have file columns, and a ledger in their metadata: one for each table."""
    tables = (mapper.local_table for mapper in mappers)
    known = dict.fromkeys(table.metadata for table in tables if isinstance(table, sa.Table))
    with_ledger = [metadata for metadata in known if ledger_of(metadata) is not None]
    return [mapper for metadata in with_ledger for mapper in mappers_with_files(metadata, mappers)]


def _with_ledger(mappers: list[Mapper[Any]]) -> tuple[Table, tuple[Mapper[Any], ...]]:
    return cast("Table", ledger_of(_table(mappers[0]).metadata)), tuple(mappers)


def _readable(known: _Tables, mappers: list[Mapper[Any]]) -> list[Mapper[Any]]:
    """Leave those classes out that lack columns, where another class shows the files of the same table.

    Where none does, the class stays: that its rows cannot be read has to be noticed, or their objects would be taken
    for objects of nobody.
    """
    shown = {column for mapper in mappers if known.fits(mapper) for column in known.file_columns(mapper)}
    return [mapper for mapper in mappers if known.fits(mapper) or not known.file_columns(mapper) <= shown]


class _Tables:
    """The tables of a database, as far as mapped classes ask for them."""

    def __init__(self, connection: Connection, mapped: Iterable[Table]) -> None:
        self._connection = connection
        self._inspector = sa.inspect(connection)
        self._columns: dict[str, frozenset[str]] = {}
        self._mapped: dict[str, dict[Table, None]] = {}
        for table in mapped:
            self._mapped.setdefault(table.fullname, {})[table] = None

    def columns(self, table: Table) -> frozenset[str]:
        """Return the names of the columns that the database has in a table; none where it has no such table."""
        found = self._columns.get(table.fullname)
        if found is None:
            found = self._columns[table.fullname] = self._reflect(table)
        return found

    def file_columns(self, mapper: Mapper[Any]) -> set[tuple[str, str]]:
        """Return those file columns of a class's own table that the database has, with the table's name."""
        there = self.columns(_table(mapper))
        names = (column.column.name.lower() for column in single_table_columns(mapper))
        return {(_table(mapper).fullname, name) for name in names if name in there}

    def has_files_of(self, mapper: Mapper[Any]) -> bool:
        """Return whether the database may hold files of a class."""
        return bool(self.file_columns(mapper))

    def fits(self, mapper: Mapper[Any]) -> bool:
        """Return whether the files of a class can be read."""
        files = {column.column.name.lower() for column in single_table_columns(mapper)}
        keys = {column.name.lower() for column in _table(mapper).primary_key}
        return files | keys <= self.columns(_table(mapper))

    def is_anothers(self, mapper: Mapper[Any]) -> bool:
        """Return whether a table is not that of a class, as far as can be told.

        It is that of the class whose columns are exactly those that are there; of several, of one that has its ledger.
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

    def _reflect(self, table: Table) -> frozenset[str]:
        # The inspector itself knows nothing of a `schema_translate_map`.
        schema = self._connection.schema_for_object(table)
        if not self._inspector.has_table(table.name, schema=schema):
            return frozenset()
        # Databases differ in which case they keep.
        return frozenset(each["name"].lower() for each in self._inspector.get_columns(table.name, schema=schema))


def _table(mapper: Mapper[Any]) -> Table:
    return cast("Table", mapper.local_table)  # as `mappers_with_files` returns them
