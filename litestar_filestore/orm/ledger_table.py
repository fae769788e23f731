"""The ledger's table, in the metadata of every model with file columns, so that tools create it with them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from litestar_filestore.errors import LedgerMissingError

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.exc import OperationalError, ProgrammingError

__all__ = ("LEDGER_SWITCH", "LEDGER_TABLE", "State", "define_ledger", "explain", "ledger_of")

LEDGER_TABLE = "filestore_object"
"""Name of the table."""
LEDGER_SWITCH = "litestar_filestore.ledger"
"""``metadata.info[LEDGER_SWITCH] = False``, set before the first model, keeps the ledger out of a metadata."""


class State(enum.StrEnum):
    """What the ledger knows about an object. The only ways are down this list, one step at a time."""

    STAGED = "staged"
    """Written or being written, for no row yet; given up when its lease runs out."""
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


def define_ledger(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, made if it is not there; ``None`` where it is switched off.

    Times are the database's, POSIX seconds. ``not_before`` is when a sweeper may act on the row: the end of the lease
    of a staged object, the moment of its doom, the end of the wait of a gone one, or the next try after an error. A
    linked object's is the moment of its link.
    """
    if metadata.info.get(LEDGER_SWITCH) is False:
        return None
    name = f"{metadata.schema}.{LEDGER_TABLE}" if metadata.schema else LEDGER_TABLE
    if (table := metadata.tables.get(name)) is not None:
        return table
    key: Any = sa.String(1024).with_variant(
        mysql.VARCHAR(700, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
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
        sa.Column("owner", sa.String(255)),
        sa.Index(f"ix_{LEDGER_TABLE}_due", "state", "not_before"),
        sa.Index(f"ix_{LEDGER_TABLE}_owner", "owner"),
    )


def explain(error: OperationalError | ProgrammingError) -> Exception:
    """Return `error`, or what it means if it says that the ledger's table is missing."""
    if LEDGER_TABLE not in str(error.orig):
        return error
    return LedgerMissingError(
        f"The database has no table {LEDGER_TABLE!r}: create it with metadata.create_all() or a migration"
    )


def ledger_of(metadata: MetaData) -> Table | None:
    """Return the ledger's table in `metadata`, ``None`` where there is none."""
    name = f"{metadata.schema}.{LEDGER_TABLE}" if metadata.schema else LEDGER_TABLE
    return metadata.tables.get(name)
