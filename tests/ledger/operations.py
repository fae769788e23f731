"""What an application does to its files: each operation runs in a process that may be killed at any point of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.ledger.models import Document, a_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from tests.ledger.world import Contents

__all__ = ("IN_AN_APPLICATION", "OPERATIONS", "Operation")


@dataclass(frozen=True)
class Operation:
    """One piece of work in a session of its own."""

    run: Callable[[Session], None]
    """The work, on the rows of `SEED`."""
    after: Contents
    """What the rows that it changes hold once it is committed."""
    deleted: tuple[int, ...] = ()
    """Rows that are gone then."""


def _upload(session: Session) -> None:
    session.add(Document(id=4, file=a_file("four"), pages=[a_file("leaf")]))
    session.commit()


def _copy(session: Session) -> None:
    file = session.get_one(Document, 1).file
    assert file is not None
    session.add(Document(id=4, file=file.copy()))
    session.commit()


def _save(session: Session) -> None:
    """Store by hand, and add the row later."""
    file = a_file("four").save()
    session.add(Document(id=4, file=file))
    session.commit()


def _save_copy(session: Session) -> None:
    file = session.get_one(Document, 1).file
    assert file is not None
    session.add(Document(id=4, file=file.copy().save()))
    session.commit()


def _save_while_writing(session: Session) -> None:
    """Store by hand in a transaction that has written already; on SQLite it holds the only write lock."""
    session.get_one(Document, 2).name = "written"
    session.flush()
    _save(session)


def _save_and_roll_back(session: Session) -> None:
    session.add(Document(id=4, file=a_file("four").save()))
    session.flush()
    session.rollback()


def _replace(session: Session) -> None:
    session.get_one(Document, 1).file = a_file("new")
    session.commit()


def _replace_unloaded(session: Session) -> None:
    row = session.get_one(Document, 1)
    session.expire(row)
    row.file = None
    session.commit()


def _delete(session: Session) -> None:
    session.delete(session.get_one(Document, 1))
    session.commit()


def _bulk_delete(session: Session) -> None:
    session.execute(sa.delete(Document).where(Document.id < 3))
    session.commit()


def _bulk_update(session: Session) -> None:
    session.execute(sa.update(Document).where(Document.id == 2).values(file=a_file("new")))
    session.commit()


def _bulk_insert(session: Session) -> None:
    session.execute(sa.insert(Document), [{"id": 4, "file": a_file("four")}, {"id": 5, "file": a_file("five")}])
    session.commit()


def _append(session: Session) -> None:
    row = session.get_one(Document, 1)
    assert row.pages is not None
    row.pages.append(a_file("leaf"))
    session.commit()


def _remove(session: Session) -> None:
    row = session.get_one(Document, 1)
    assert row.pages is not None
    del row.pages[0]
    session.commit()


def _move(session: Session) -> None:
    one, two = session.get_one(Document, 1), session.get_one(Document, 2)
    one.file, two.file = None, one.file
    session.commit()


def _roll_back(session: Session) -> None:
    session.get_one(Document, 1).file = a_file("new")
    session.flush()
    session.rollback()


def _close(session: Session) -> None:
    session.get_one(Document, 1).file = a_file("new")
    session.flush()
    session.close()


def _savepoint_rollback(session: Session) -> None:
    session.get_one(Document, 1).file = a_file("new")
    session.flush()
    savepoint = session.begin_nested()
    session.delete(session.get_one(Document, 3))
    session.add(Document(id=4, file=a_file("four")))
    session.flush()
    savepoint.rollback()
    session.commit()


def _savepoint_release(session: Session) -> None:
    session.get_one(Document, 2).name = "begin"
    session.flush()
    with session.begin_nested():
        session.get_one(Document, 1).file = a_file("new")
        session.delete(session.get_one(Document, 3))
    session.rollback()


def _ambiguous_commit(session: Session) -> None:
    """Commit on a connection whose answer to COMMIT gets lost, and clean up as an application does."""
    session.info["lose the answer"]()
    session.get_one(Document, 1).file = a_file("new")
    try:
        session.commit()
    except OperationalError:
        session.rollback()
    else:
        raise AssertionError("the answer to COMMIT was to get lost")


def _write_first(session: Session) -> None:
    """Store content in a transaction that has written already; on SQLite it then holds the only write lock."""
    session.get_one(Document, 2).name = "written"
    session.flush()
    session.get_one(Document, 1).file = a_file("new")
    session.commit()


def _write_first_roll_back(session: Session) -> None:
    session.get_one(Document, 2).name = "written"
    session.flush()
    session.get_one(Document, 1).file = a_file("new")
    session.flush()
    session.rollback()


def _write_first_ambiguous_commit(session: Session) -> None:
    session.get_one(Document, 2).name = "written"
    session.flush()
    _ambiguous_commit(session)


def _replace_in_snapshot(session: Session) -> None:
    """Replace in a transaction that sees the database as it was before the intent."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    _replace(session)


def _roll_back_in_snapshot(session: Session) -> None:
    session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    _roll_back(session)


_REPLACED: Contents = {1: ("new", ("page", "side"))}

OPERATIONS: dict[str, Operation] = {
    "upload": Operation(_upload, {4: ("four", ("leaf",))}),
    "copy": Operation(_copy, {4: ("one", ())}),
    "replace": Operation(_replace, _REPLACED),
    "clear an expired row": Operation(_replace_unloaded, {1: (None, ("page", "side"))}),
    "delete": Operation(_delete, {}, deleted=(1,)),
    "bulk delete": Operation(_bulk_delete, {}, deleted=(1, 2)),
    "bulk update": Operation(_bulk_update, {2: ("new", ())}),
    "bulk insert": Operation(_bulk_insert, {4: ("four", ()), 5: ("five", ())}),
    "list append": Operation(_append, {1: ("one", ("page", "side", "leaf"))}),
    "list remove": Operation(_remove, {1: ("one", ("side",))}),
    "move": Operation(_move, {1: (None, ("page", "side")), 2: ("one", ())}),
    "rollback": Operation(_roll_back, {}),
    "close": Operation(_close, {}),
    "savepoint rollback": Operation(_savepoint_rollback, _REPLACED),
    "savepoint release, rollback": Operation(_savepoint_release, {}),
    "ambiguous commit": Operation(_ambiguous_commit, _REPLACED),
    "replace in a snapshot": Operation(_replace_in_snapshot, _REPLACED),
    "rollback in a snapshot": Operation(_roll_back_in_snapshot, {}),
    "write first": Operation(_write_first, _REPLACED),
    "write first, rollback": Operation(_write_first_roll_back, {}),
    "write first, ambiguous commit": Operation(_write_first_ambiguous_commit, _REPLACED),
}
"""Operations that are the same in a `Session` and inside an `AsyncSession`."""

IN_AN_APPLICATION: dict[str, Operation] = {
    "save": Operation(_save, {4: ("four", ())}),
    "save a copy": Operation(_save_copy, {4: ("one", ())}),
    "save while writing": Operation(_save_while_writing, {4: ("four", ())}),
    "save, rollback": Operation(_save_and_roll_back, {}),
}
"""Those during which an application runs."""
