"""Since when sessions are followed: from the first file column of the process on.

Events of SQLAlchemy are all that is listened to, and nothing of it is replaced. What has to know every session leaves
at once where a session has no files; the rest hangs on the classes, sessions and connections that have some.
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
from litestar_filestore.tracking.flush import before_flush, follow_rows, refuse_unseen

__all__ = ("start",)


def start() -> None:
    """Begin to follow the sessions of this process; `litestar_filestore.orm.first_column` calls it once."""
    event.listen(StoredObject, "after_parent_attach", _column_has_files)
    event.listen(Mapper, "mapper_configured", _class_is_configured)
    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "after_transaction_create", refuse_unseen)
    event.listen(Session, "do_orm_execute", follow_statement)


def _column_has_files(_type: StoredObject, parent: Any) -> None:
    if isinstance(parent, Column):
        event.listen(parent, "after_parent_attach", _bring_ledger)


def _bring_ledger(_column: Column[Any], parent: Any) -> None:
    """Put the ledger's table beside every table that has such a column, so that tools create it with the models."""
    if isinstance(parent, Table):
        define_ledger(parent.metadata)


def _class_is_configured(mapper: Mapper[Any], class_: type[Any]) -> None:
    if instrument(mapper, class_):
        check_defaults(mapper)
        follow_rows(mapper)
