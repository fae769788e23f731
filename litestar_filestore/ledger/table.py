"""The database's clock as seconds: hosts disagree about the time, one database does not."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from litestar_filestore.errors import LedgerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, MetaData, Table
    from sqlalchemy.exc import OperationalError, ProgrammingError
    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = (
    "LEDGER_SWITCH",
    "LEDGER_TABLE",
    "MYSQL",
    "NOTE_TABLE",
    "USED",
    "State",
    "database_now",
    "define_ledger",
    "explain",
    "is_one_of",
    "ledger_of",
    "notes_of",
)


class database_now(FunctionElement[float]):  # noqa: N801  # used like a SQL function
    """POSIX time of the database server in seconds (UTC) at which the statement began.

    One value for a whole statement, so that every planner looks it up once and searches an index with it.
    """

    type = sa.Double[float]()  # pyright: ignore[reportIncompatibleVariableOverride]  # as SQLAlchemy's own functions do
    inherit_cache = True
    name = "database_now"


@compiles(database_now)
def _unsupported(_element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    raise CompileError(f"The ledger does not know the clock of {compiler.dialect.name}")


@compiles(database_now, "postgresql")
def _postgresql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # now() stands still at the start of the transaction. clock_timestamp() is VOLATILE: it is asked for each row, and
    # PostgreSQL would read a million tombstones for a sweep that has nothing to do.
    return "EXTRACT(EPOCH FROM statement_timestamp())::double precision"


@compiles(database_now, "sqlite")
def _sqlite(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "mysql")
@compiles(database_now, "mariadb")
def _mysql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # UNIX_TIMESTAMP() of a local time is off by an hour while summer time ends.
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)"


LEDGER_TABLE = "filestore_object"
"""Name of the table with an entry for each object."""
NOTE_TABLE = "filestore_note"
"""Name of the table for objects that an open transaction is going to enter; see `litestar_filestore.ledger.notes`."""
LEDGER_SWITCH = "litestar_filestore.ledger"
"""``metadata.info[LEDGER_SWITCH] = False``, set before the first model, keeps the ledger out of a metadata."""

_MISSING = re.compile(rf"""(?:no such table: |relation "|Table ')(?:[^'"]*\.)?({LEDGER_TABLE}|{NOTE_TABLE})\b""")
"""What SQLite, PostgreSQL and MariaDB say of a table that is not there."""

MYSQL = frozenset({"mysql", "mariadb"})
"""SQLAlchemy's names of the databases of this family."""


USED = "used"
"""State of an entry that is about no object but about a link to upload: it was used. Its ``not_before`` is when nobody
can use the link any more, and the entry can be forgotten."""


class State(enum.StrEnum):
    """What the ledger knows about an object. The only ways are down this list, where most skip `KEPT` and `SHARED`.

    `adopt` and `fsck` alone go back from `LINKED` to `SHARED`.
    """

    STAGED = "staged"
    """Written or being written, for no row yet; given up when its lease runs out."""
    KEPT = "kept"
    """Held by no row, on purpose: the application keeps it. A row may still take it."""
    SHARED = "shared"
    """Held by several rows, as it was before there was a ledger. No row's end dooms it, and no further row may take it;
    `fsck` hands it to the last row that holds it, or dooms it when none does."""
    LINKED = "linked"
    """Held by a row; written in the row's transaction."""
    DOOMED = "doomed"
    """Held by no row any more; to be deleted."""
    GONE = "gone"
    """Deleted once; deleted again after a while, since a late writer may have finished, and then forgotten."""


def _ascii(length: int) -> sa.String:
    # MySQL limits an index to 3,072 bytes and counts four for each character of its default character set.
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )


def _binary(length: int) -> sa.String:
    return mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")


def define_ledger(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, made if it is not there; ``None`` where it is switched off.

    The table of the notes is made with it.

    Times are the database's, POSIX seconds. ``not_before`` is when a sweeper may act on the row: the end of the lease
    of a staged object, the moment of its doom, the end of the wait of a gone one, or the next try after an error. A
    linked object's is the moment of its link.
    """
    if metadata.info.get(LEDGER_SWITCH) is False:
        return None
    if (table := ledger_of(metadata)) is not None:
        return table
    # MySQL's own choice would take keys and owners for equal that differ in capitals only.
    key = sa.String(1024).with_variant(_binary(700), "mysql", "mariadb")
    owner = sa.String(255).with_variant(_binary(255), "mysql", "mariadb")
    sa.Table(
        NOTE_TABLE,
        metadata,
        sa.Column("backend", _ascii(128), primary_key=True),
        sa.Column("key", key, primary_key=True),
        sa.Column("not_before", sa.Double, nullable=False, index=True),
    )
    return sa.Table(
        LEDGER_TABLE,
        metadata,
        sa.Column("backend", _ascii(128), primary_key=True),
        sa.Column("key", key, primary_key=True),
        sa.Column("state", _ascii(8), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("checksum", sa.String(160)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.String(500)),
        sa.Column("owner", owner),
        sa.Index(f"ix_{LEDGER_TABLE}_due", "state", "backend", "not_before"),
        sa.Index(f"ix_{LEDGER_TABLE}_owner", "owner"),
    )


def explain(error: OperationalError | ProgrammingError) -> Exception:
    """Return `error`, or what it means if it says that a table of the ledger is missing."""
    found = _MISSING.search(str(error.orig))
    if found is None:
        return error
    return LedgerMissingError(
        f"The database has no table {found[1]!r}: create it with metadata.create_all() or a migration"
    )


def ledger_of(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, ``None`` where there is none."""
    return _table_of(metadata, LEDGER_TABLE)


def notes_of(metadata: MetaData) -> Table | None:
    """Return the table of the notes in `metadata`, ``None`` where there is no ledger."""
    return _table_of(metadata, NOTE_TABLE)


def is_one_of(table: Table, objects: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """Return the condition that a row is about one of these objects.

    Args:
        table: That of the ledger or of the notes.
        objects: Backends and keys; no row is about one of none.
    """
    keys: dict[str, list[str]] = {}
    for backend, key in objects:
        keys.setdefault(backend, []).append(key)
    alike = (sa.and_(table.c.backend == backend, table.c.key.in_(names)) for backend, names in keys.items())
    return sa.or_(sa.false(), *alike)


def _table_of(metadata: MetaData, name: str) -> Table | None:
    return metadata.tables.get(f"{metadata.schema}.{name}" if metadata.schema else name)
