"""The tables of a ledger, the states of its entries, and the clock for its times."""

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
    "UPLOAD_TABLE",
    "USAGE_TABLE",
    "USED",
    "WITHOUT_SKIP_LOCKED",
    "State",
    "database_now",
    "define_ledger",
    "explain",
    "identity_of",
    "is_one_of",
    "is_pending",
    "is_unsettled",
    "ledger_of",
    "notes_of",
    "tables_of_ledger",
    "upload_parts_of",
    "uploads_of",
    "usage_of",
)


class database_now(FunctionElement[float]):  # noqa: N801  # used like a SQL function
    """POSIX time of the database server in seconds (UTC) at which the statement began.

    It has one value for a whole statement, so that every planner evaluates it once and searches an index with it.
    """

    type = sa.Double[float]()  # pyright: ignore[reportIncompatibleVariableOverride]  # as SQLAlchemy's own functions do
    inherit_cache = True
    name = "database_now"


@compiles(database_now)
def _unsupported(_element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    raise CompileError(
        f"The ledger does not know the clock of {compiler.dialect.name}: use a database that it supports"
    )


@compiles(database_now, "postgresql")
@compiles(database_now, "cockroachdb")
def _postgresql(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:
    # now() is the start of the transaction. clock_timestamp() is VOLATILE: it is evaluated for each row, and PostgreSQL
    # would read a million tombstones for a sweep that has nothing to do.
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
UPLOAD_TABLE = "filestore_upload"
"""Name of the table of resumable uploads; see `litestar_filestore.ledger.uploads`."""
_PART_TABLE = "filestore_upload_part"
"""Name of the table of the parts that were stored of unfinished uploads."""
_IDENTITY_TABLE = "filestore_database"
"""Name of the table whose one row distinguishes this database from others with the same backend, for `fsck`."""
USAGE_TABLE = "filestore_usage"
"""Name of the table with a counter for each large owner; see `litestar_filestore.ledger.counters`."""
LEDGER_SWITCH = "litestar_filestore.ledger"
"""``metadata.info[LEDGER_SWITCH] = False``, set before the first model, keeps the ledger out of a metadata."""

MYSQL = frozenset({"mysql", "mariadb"})
"""SQLAlchemy's names of the databases of this family."""

WITHOUT_SKIP_LOCKED = frozenset({"cockroachdb"})
"""SQLAlchemy's names of databases where SKIP LOCKED cannot be relied on: CockroachDB is slow with it while others wait
(cockroachdb/cockroach#97135), and has left out entries that nobody had locked (#121917)."""

USED = "used"
"""State of an entry that is not for an object but for an upload link that was used. Its ``not_before`` is the time
after which the link has expired, and the entry can be forgotten."""


class State(enum.StrEnum):
    """The state of an object. It only moves down this list; most objects skip `KEPT` and `SHARED`.

    Only `adopt` and `fsck` move an object back from `LINKED` to `SHARED`.
    """

    STAGED = "staged"
    """Written or being written, for no row yet; given up when its lease runs out."""
    KEPT = "kept"
    """Held by no row, on purpose: the application keeps it. A row may still take it."""
    SHARED = "shared"
    """Held by several rows, from the time before the ledger. Deleting a row does not doom it, and no other row may take
    it; `fsck` hands it to the last row that holds it, or dooms it if none does."""
    LINKED = "linked"
    """Held by a row; written in the row's transaction."""
    DOOMED = "doomed"
    """Held by no row any more; to be deleted."""
    GONE = "gone"
    """Deleted once; deleted again after a while, in case a late writer has finished, and then forgotten."""


def define_ledger(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, and make it if it is missing; ``None`` if it is switched off.

    The tables of the notes, of the counters, of resumable uploads and of the database's identity are made with it.

    Times are the database's, POSIX seconds. ``not_before`` is when a sweeper may act on the row: the end of the lease
    of a staged object, the moment of its doom, the end of the wait of a gone one, or the next try after an error. A
    linked object's is the moment of its link.
    """
    if metadata.info.get(LEDGER_SWITCH) is False:
        return None
    if notes_of(metadata) is None:
        sa.Table(NOTE_TABLE, metadata, *_object(), sa.Column("not_before", sa.Double, nullable=False, index=True))
    if identity_of(metadata) is None:
        sa.Table(
            _IDENTITY_TABLE,
            metadata,
            # Always 1: if two processes make an identity at the same moment, one is refused.
            sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
            sa.Column("identity", _ascii(32), nullable=False),
        )
    if usage_of(metadata) is None:
        counts = ("objects", "bytes", "doomed_objects", "doomed_bytes")
        sa.Table(
            USAGE_TABLE,
            metadata,
            _owner(primary_key=True),
            *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in counts),
            sa.Column("wanted", sa.SmallInteger, nullable=False, server_default="0"),
        )
    if uploads_of(metadata) is None:
        _define_uploads(metadata)
    if (table := ledger_of(metadata)) is not None:
        return table
    table = sa.Table(
        LEDGER_TABLE,
        metadata,
        *_object(),
        sa.Column("state", _ascii(8), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("checksum", sa.String(160)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.String(500)),
        _owner(),
        # How much of the entry its owner's counter holds: nothing, the object, or also that it is doomed.
        sa.Column("counted", sa.SmallInteger, nullable=False, server_default="0"),
    )
    # Almost all entries are linked, and what is asked here is never about those. MySQL and MariaDB have no partial
    # indexes: there the whole table is in them.
    here = table.c
    pending, unsettled = is_pending(table), sa.and_(here.owner.is_not(None), is_unsettled(table))
    sa.Index(
        f"ix_{LEDGER_TABLE}_pending",
        *(here.state, here.backend, here.not_before),
        postgresql_where=pending,
        sqlite_where=pending,
    )
    sa.Index(
        f"ix_{LEDGER_TABLE}_unsettled",
        *(here.owner, here.counted, here.state),
        postgresql_where=unsettled,
        sqlite_where=unsettled,
    )
    return table


def is_pending(table: Table) -> ColumnElement[bool]:
    """Return the condition of the index of what is not linked; a question repeats it to be answered from the index."""
    # Written out: a planner that sees a parameter cannot tell that the index holds what is asked for.
    return table.c.state != sa.literal_column(f"'{State.LINKED}'")


def is_unsettled(table: Table) -> ColumnElement[bool]:
    """Return the condition that the counter of an entry's owner, if there is one, does not hold the entry as it is."""
    doomed = sa.and_(table.c.counted == sa.literal_column("1"), table.c.state == sa.literal_column(f"'{State.DOOMED}'"))
    return sa.or_(table.c.counted == sa.literal_column("0"), doomed)


def _owner(name: str = "owner", **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(255).with_variant(_binary(255), "mysql", "mariadb"), **options)


def _define_uploads(metadata: MetaData) -> None:
    """Make the tables of resumable uploads. Sizes and offsets are in bytes, times as in the ledger."""
    sa.Table(
        UPLOAD_TABLE,
        metadata,
        sa.Column("id", _ascii(32), primary_key=True),
        # Who may continue it, and where: an id of another router or owner is unknown.
        sa.Column("place", sa.String(255), nullable=False),
        _owner(),
        _owner("opener", nullable=False),
        sa.Column("length", sa.BigInteger),
        sa.Column("metadata", sa.Text),
        sa.Column("concat", sa.Text),
        # What has come: the first bytes wait here until there are enough to judge them, the others are in the store.
        sa.Column("offset", sa.BigInteger, nullable=False),
        # In base64: aiomysql (0.3) cannot send bytes.
        sa.Column("head", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
        sa.Column("backend", _ascii(128), nullable=False),
        sa.Column("key", _key()),
        sa.Column("content_type", sa.String(255)),
        sa.Column("store_upload", sa.Text),
        sa.Column("part_bytes", sa.BigInteger),
        sa.Column("tail_key", _key()),
        # The file as a row would keep it, once it is complete.
        sa.Column("result", sa.Text),
        # The lease.
        sa.Column("holder", _ascii(32)),
        sa.Column("held_until", sa.Double, nullable=False),
        sa.Column("is_wanted", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Index(f"ix_{UPLOAD_TABLE}_due", "backend", "expires_at"),
        sa.Index(f"ix_{UPLOAD_TABLE}_opener", "opener"),
    )
    sa.Table(
        _PART_TABLE,
        metadata,
        sa.Column("upload", _ascii(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
    )


def _object() -> tuple[sa.Column[Any], ...]:
    """Return the columns that name an object."""
    return sa.Column("backend", _ascii(128), primary_key=True), sa.Column("key", _key(), primary_key=True)


def _key() -> sa.String:
    return sa.String(1024).with_variant(_binary(700), "mysql", "mariadb")


def _ascii(length: int) -> sa.String:
    # MySQL limits an index to 3,072 bytes and counts four for each character of its default character set.
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )


def _binary(length: int) -> sa.String:
    # MySQL's default would treat keys and owners that differ only in case as equal.
    return mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")


def ledger_of(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, ``None`` if there is none."""
    return _table_of(metadata, LEDGER_TABLE)


def notes_of(metadata: MetaData) -> Table | None:
    """Return the table of the notes in `metadata`, ``None`` if there is no ledger."""
    return _table_of(metadata, NOTE_TABLE)


def identity_of(metadata: MetaData) -> Table | None:
    """Return the table of the database's identity in `metadata`, ``None`` if there is no ledger."""
    return _table_of(metadata, _IDENTITY_TABLE)


def usage_of(metadata: MetaData) -> Table | None:
    """Return the table of the counters in `metadata`, ``None`` if there is no ledger."""
    return _table_of(metadata, USAGE_TABLE)


def uploads_of(metadata: MetaData) -> Table | None:
    """Return the table of resumable uploads in `metadata`, ``None`` if there is no ledger."""
    return _table_of(metadata, UPLOAD_TABLE)


def upload_parts_of(metadata: MetaData) -> Table | None:
    """Return the table of their parts in `metadata`, ``None`` if there is no ledger."""
    return _table_of(metadata, _PART_TABLE)


def tables_of_ledger(metadata: MetaData) -> list[Table]:
    """Return all tables of a ledger, that of its entries first; empty if there is no ledger."""
    found = (_table_of(metadata, name) for name in _NAMES)
    return [table for table in found if table is not None]


def is_one_of(table: Table, objects: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """Return the condition that a row is for one of these objects.

    Args:
        table: The table of the ledger or of the notes.
        objects: Backends and keys; if empty, no row matches.
    """
    keys: dict[str, list[str]] = {}
    for backend, key in objects:
        keys.setdefault(backend, []).append(key)
    alike = (sa.and_(table.c.backend == backend, table.c.key.in_(names)) for backend, names in keys.items())
    return sa.or_(sa.false(), *alike)


def _table_of(metadata: MetaData, name: str) -> Table | None:
    return metadata.tables.get(f"{metadata.schema}.{name}" if metadata.schema else name)


_NAMES = (LEDGER_TABLE, NOTE_TABLE, USAGE_TABLE, UPLOAD_TABLE, _PART_TABLE, _IDENTITY_TABLE)
"""The tables of a ledger, that of its entries first."""
_MISSING = re.compile(rf"""(?:no such table: |relation "|Table ')(?:[^'"]*\.)?({"|".join(_NAMES)})\b""")
"""The messages of SQLite, PostgreSQL and MariaDB for a missing table."""


def explain(error: OperationalError | ProgrammingError) -> Exception:
    """Return `error`, or `LedgerMissingError` if it says that a table of the ledger is missing."""
    found = _MISSING.search(str(error.orig))
    if found is None:
        return error
    return LedgerMissingError(
        f"The database has no table {found[1]!r}: create it with metadata.create_all() or a migration"
    )
