"""Starts following sessions, from the first file column of the process on.

It only listens to events of SQLAlchemy, and replaces nothing. Listeners on all sessions return at once if a session has
no files; the others listen only to classes and connections with files.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Table, event
from sqlalchemy.orm import Mapper, Session

from litestar_filestore.ledger.table import define_ledger
from litestar_filestore.orm.columns import instrument
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.tracking.bulk import follow_statement
from litestar_filestore.tracking.defaults import check_defaults
from litestar_filestore.tracking.flush import after_flush, before_flush, follow_rows, refuse_unseen
from litestar_filestore.tracking.transactions import after_commit, after_transaction_end, before_commit

__all__ = ("start",)


def start() -> None:
    """Start following the sessions of this process; `litestar_filestore.orm.first_column` calls it once."""
    event.listen(StoredObject, "after_parent_attach", _column_has_files)
    event.listen(Mapper, "mapper_configured", _class_is_configured)
    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "after_transaction_create", refuse_unseen)
    event.listen(Session, "after_flush", after_flush)
    event.listen(Session, "do_orm_execute", follow_statement)
    event.listen(Session, "before_commit", before_commit)
    event.listen(Session, "after_commit", after_commit)
    event.listen(Session, "after_transaction_end", after_transaction_end)


def _column_has_files(_type: StoredObject, parent: Any) -> None:
    if isinstance(parent, Column):
        event.listen(parent, "after_parent_attach", _bring_ledger)


def _bring_ledger(_column: Column[Any], parent: Any) -> None:
    """Add the ledger's table to the metadata of every table with such a column, so that tools create both."""
    if isinstance(parent, Table):
        define_ledger(parent.metadata)


def _class_is_configured(mapper: Mapper[Any], class_: type[Any]) -> None:
    if instrument(mapper, class_):
        check_defaults(mapper)
        follow_rows(mapper)
