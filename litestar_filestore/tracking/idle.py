"""Recognises sessions that have only read, whose connection can go back to the pool while a store is awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState

__all__ = (
    "has_only_read",
    "watch_sessions",
)

_WROTE = "litestar_filestore.wrote"


def watch_sessions() -> None:
    """Start watching what the sessions of this process execute; for applications that serve files."""
    if not event.contains(Session, "do_orm_execute", _note):
        event.listen(Session, "do_orm_execute", _note)


def _note(state: ORMExecuteState) -> None:
    if not state.is_select:  # true for text as well, which could be anything
        state.session.info[_WROTE] = True  # permanently: the transaction that this begins does not exist yet


def has_only_read(session: Session) -> bool:
    """Return whether the session's transaction may be ended without losing anything.

    Writes through ``session.connection()`` are not noticed, nor is anything before `watch_sessions`.
    """
    if not event.contains(Session, "do_orm_execute", _note):
        return False
    transaction = session.get_transaction()
    if transaction is None:
        return True
    if session.new or session.dirty or session.deleted or session.in_nested_transaction():
        return False
    # Inside ``with session.begin()`` SQLAlchemy does not let others end the transaction; only this attribute shows it.
    if getattr(session, "_trans_context_manager", None) is not None:
        return False
    flushed = any(len(getattr(transaction, name, ())) for name in ("_new", "_dirty", "_deleted"))
    return not flushed and _WROTE not in session.info
