"""Random operations of many on few rows, and which of the errors that they meet are their own fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from litestar_filestore import FileObjectList
from litestar_filestore.errors import (
    BackendUnavailableError,
    ConflictError,
    DatabaseUnavailableError,
    LinkLostError,
    ObjectNotFoundError,
)
from litestar_filestore.ledger.table import LEDGER_TABLE
from tests.ledger.models import Document, a_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sqlalchemy.orm import Session

__all__ = ("ROWS", "expected_error", "operate")

ROWS = range(1, 9)
"""Primary keys of the rows that everybody works on."""
_LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
_SERIALIZATION_FAILURE = "40001"
_MARIADB_DEADLOCK = {1213, 1305}
"""The deadlock, whose SQLSTATE is that of a serialization failure; and what SQLAlchemy runs into after it, since the
server has rolled back the whole transaction: the savepoint to go back to is gone."""


def expected_error(error: BaseException) -> str | None:
    """Return the name under which an error is counted, ``None`` for one that must not happen.

    A deadlock is one that must not: whatever the operations below do in one flush is locked in one order. MariaDB locks
    the gaps between rows as well, and finds some.
    """
    # Another session of this process holds SQLite's lock, and is not waited for any longer.
    has_waited = isinstance(error, DatabaseUnavailableError) and "for too long" in str(error)
    if has_waited or isinstance(
        error, (ConflictError, LinkLostError, ObjectNotFoundError, BackendUnavailableError, ObjectDeletedError)
    ):
        return type(error).__name__
    if isinstance(error, (StaleDataError, IntegrityError)):
        # Two inserts of one row meet, but never two entries of the ledger.
        return None if LEDGER_TABLE in str(error) else type(error).__name__
    if isinstance(error, DBAPIError):
        if error.orig is not None and error.orig.args and error.orig.args[0] in _MARIADB_DEADLOCK:
            return "Deadlock"
        if getattr(error.orig, "sqlstate", None) == _SERIALIZATION_FAILURE:
            return "SerializationFailure"
        if "database is locked" in str(error.orig):
            return "database is locked"
    return None


def operate(session: Session, random: Random, *, snapshots: bool = False) -> None:
    """Do something to one or two rows, in one transaction that is committed most of the time.

    Args:
        session: A new one; the caller closes it.
        random: Decides.
        snapshots: Whether to use the isolation levels at which a transaction does not see what others commit.
    """
    if snapshots:
        session.connection(execution_options={"isolation_level": random.choice(_LEVELS)})
    random.choice(_OPERATIONS)(session, random)
    ending = random.random()
    if ending < 0.8:
        session.commit()
    elif ending < 0.9:
        session.flush()
        session.rollback()
    else:
        session.flush()  # and closed by the caller


def _row(session: Session, random: Random) -> Document:
    """Return one of the rows, a new one if it is not there."""
    number = random.choice(ROWS)
    row = session.get(Document, number)
    if row is None:
        row = Document(id=number)
        session.add(row)
    return row


def _file(random: Random) -> Any:
    return a_file(f"{random.getrandbits(32):08x}")


def _replace(session: Session, random: Random) -> None:
    _row(session, random).file = _file(random)


def _clear(session: Session, random: Random) -> None:
    row = _row(session, random)
    row.file = row.pages = None


def _delete(session: Session, random: Random) -> None:
    row = session.get(Document, random.choice(ROWS))
    if row is not None:
        session.delete(row)


def _append(session: Session, random: Random) -> None:
    row = _row(session, random)
    row.pages = FileObjectList([*(row.pages or ()), _file(random)][-4:])


def _remove(session: Session, random: Random) -> None:
    row = _row(session, random)
    if row.pages:
        row.pages.pop(random.randrange(len(row.pages)))


def _swap(session: Session, random: Random) -> None:
    first, second = (session.get(Document, number) for number in random.sample(ROWS, 2))
    if first is not None and second is not None:
        first.file, second.file = second.file, first.file


def _copy(session: Session, random: Random) -> None:
    source = session.get(Document, random.choice(ROWS))
    target = session.get(Document, random.choice(ROWS))
    if source is not None and target is not None and source.file is not None:
        # The bytes of another row, stored anew: a copy inside the store has no intent before it.
        target.file = a_file(source.file.filename.removesuffix(".txt"))


def _bulk_delete(session: Session, random: Random) -> None:
    session.execute(sa.delete(Document).where(Document.id.in_(random.sample(ROWS, 2))))


def _bulk_clear(session: Session, random: Random) -> None:
    session.execute(sa.update(Document).where(Document.id.in_(random.sample(ROWS, 2))).values(file=None))


def _bulk_replace(session: Session, random: Random) -> None:
    session.execute(sa.update(Document).where(Document.id == random.choice(ROWS)).values(file=_file(random)))


def _bulk_insert(session: Session, random: Random) -> None:
    session.execute(sa.insert(Document), [{"id": random.choice(ROWS), "file": _file(random)}])


def _savepoint(session: Session, random: Random) -> None:
    savepoint = session.begin_nested()
    random.choice((_replace, _delete, _append))(session, random)
    session.flush()
    if random.random() < 0.5:
        savepoint.rollback()
    else:
        savepoint.commit()


_OPERATIONS: tuple[Callable[[Session, Random], None], ...] = (
    *(_replace, _replace, _append, _append),
    *(_clear, _delete, _remove, _swap, _copy),
    *(_bulk_delete, _bulk_clear, _bulk_replace, _bulk_insert, _savepoint),
)
