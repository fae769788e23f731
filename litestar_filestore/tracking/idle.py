"""Sessions that have only read: their connection can go back to the pool while somebody waits for a store."""

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
    """Begin to notice what the sessions of this process execute; for applications that serve files."""
    if not event.contains(Session, "do_orm_execute", _note):
        event.listen(Session, "do_orm_execute", _note)


def _note(state: ORMExecuteState) -> None:
    if not state.is_select:  # text as well, which could be anything
        state.session.info[_WROTE] = True  # for good: the transaction that this begins is not there yet


def has_only_read(session: Session) -> bool:
    """Return whether the end of its transaction would lose nothing, and may come from anybody.

    What went past the session, through ``session.connection()``, is not seen. Before `watch_sessions` nobody knows.
    """
    if not event.contains(Session, "do_orm_execute", _note):
        return False
    transaction = session.get_transaction()
    if transaction is None:
        return True
    if session.new or session.dirty or session.deleted or session.in_nested_transaction():
        return False
    # Inside of ``with session.begin()`` SQLAlchemy lets nobody end the transaction; only this attribute tells.
    if getattr(session, "_trans_context_manager", None) is not None:
        return False
    flushed = any(len(getattr(transaction, name, ())) for name in ("_new", "_dirty", "_deleted"))
    return not flushed and _WROTE not in session.info
