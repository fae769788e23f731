"""How many statements the ledger costs a transaction: one for all files that its flush links, one for all it dooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from litestar_filestore import FileObjectList
from litestar_filestore.ledger import ledger
from litestar_filestore.ledger.line import Prepared, changed_at_once
from litestar_filestore.ledger.table import LEDGER_TABLE, State
from tests.ledger.async_world import HALVES
from tests.ledger.models import Document, a_file
from tests.ledger.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

pytestmark = pytest.mark.parametrize("half", HALVES)

NUMBERS = range(1, 51)
LINK, DOOM = f"UPDATE to {State.LINKED}", f"UPDATE to {State.DOOMED}"


def add(session: Session) -> None:
    """Flush 50 new rows with a file each."""
    session.add_all([Document(id=number, file=a_file(f"old{number}")) for number in NUMBERS])
    session.flush()


def replace(session: Session) -> None:
    """Flush 50 rows with new files."""
    for row in session.scalars(sa.select(Document)).all():
        row.file = a_file(f"new{row.id}")
    session.flush()


def delete(session: Session) -> None:
    """Flush 50 deleted rows."""
    for row in session.scalars(sa.select(Document)).all():
        session.delete(row)
    session.flush()


def bulk_insert(session: Session) -> None:
    """Insert 50 rows by a statement."""
    session.execute(sa.insert(Document), [{"id": number, "file": a_file(f"old{number}")} for number in NUMBERS])


def bulk_update(session: Session) -> None:
    """Replace 50 files by a statement."""
    session.execute(sa.update(Document), [{"id": number, "file": a_file(f"new{number}")} for number in NUMBERS])


def add_list(session: Session) -> None:
    """Flush a new row with a list of 50 files."""
    session.add(Document(id=1, pages=FileObjectList([a_file(f"old{number}") for number in NUMBERS])))
    session.flush()


def bulk_update_list(session: Session) -> None:
    """Replace a list of 50 files by a statement."""
    session.execute(sa.update(Document).values(pages=FileObjectList([a_file(f"new{number}") for number in NUMBERS])))


def bulk_delete(session: Session) -> None:
    """Delete 50 rows by a statement."""
    session.execute(sa.delete(Document))


def statements_on_ledger(world: World, work: Callable[[Session], None]) -> list[str]:
    """Run and commit `work`, and return what its transaction sent to the ledger, apart from what was staged beside."""
    seen: list[str] = []

    def look(_connection: Any, _cursor: Any, sql: str, _given: Any, context: Any, *_: Any) -> None:
        if LEDGER_TABLE in sql:
            seen.append(f"{sql.split(maxsplit=1)[0]} to {context.compiled_parameters[0].get('state')}")

    def run(session: Session) -> None:
        work(session)
        session.commit()

    event.listen(world.bind, "before_cursor_execute", look)
    world.run(run)
    event.remove(world.bind, "before_cursor_execute", look)
    return seen


def tags(world: World) -> set[str]:
    """Return what the rows hold once everything is swept."""
    world.recover()
    assert world.leftovers() == []
    return {tag for file, pages in world.contents().values() for tag in (file, *pages) if tag is not None}


OLD, NEW = ({f"{tag}{number}" for number in NUMBERS} for tag in ("old", "new"))


@pytest.mark.parametrize("work", [add, add_list, bulk_insert])
def test_new_files(world: World, work: Callable[[Session], None]) -> None:
    """All files of a flush or a statement are linked by one statement."""
    assert statements_on_ledger(world, work) == [LINK]
    assert tags(world) == OLD


@pytest.mark.parametrize(("before", "work"), [(add, replace), (add_list, bulk_update_list)])
def test_replaced_files(world: World, before: Callable[[Session], None], work: Callable[[Session], None]) -> None:
    """All new files are linked by one statement, and all old ones doomed by another one."""
    statements_on_ledger(world, before)
    assert statements_on_ledger(world, work) == [LINK, DOOM]
    assert tags(world) == NEW


# SQLite needs a third one, for what is stored after the first of the rows has taken the write lock.
@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_files_replaced_by_keys(world: World) -> None:
    """The same for a statement with a list of rows."""
    statements_on_ledger(world, add)
    assert statements_on_ledger(world, bulk_update) == [LINK, DOOM]
    assert tags(world) == NEW


def add_one(session: Session) -> None:
    """Flush a new row with one file."""
    session.add(Document(id=1, file=a_file("old1")))
    session.flush()


def commit_one(session: Session) -> None:
    """Commit a new row with one file."""
    add_one(session)
    session.commit()


def replace_one(session: Session) -> None:
    """Delete the rows, and commit the new row in another transaction."""
    delete(session)
    session.commit()
    commit_one(session)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_single_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is linked on the driver itself, and past no listener: whoever traces statements sees the link as well."""
    at_once: list[int | None] = []

    def changed(*arguments: Any) -> int | None:
        at_once.append(changed_at_once(*arguments))
        return at_once[-1]

    monkeypatch.setattr(ledger, "changed_at_once", changed)
    assert statements_on_ledger(world, add_one) == [LINK]
    assert at_once == []
    # SQLAlchemy leaves these marks when a listener is removed, here and in other tests.
    vars(world.bind).pop("_has_events")
    monkeypatch.setattr(sa.Engine, "_has_events", False)
    world.run(replace_one)
    assert at_once == [1]
    assert tags(world) == {"old1"}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_link_that_the_driver_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy repeats it, in the same transaction, and explains what is wrong if it fails again."""
    monkeypatch.setattr(ledger, "_link_at_once", lambda *_: Prepared("UPDATE nowhere SET it = 1", (), {}))
    world.run(commit_one)
    assert tags(world) == {"old1"}


@pytest.mark.parametrize("work", [delete, bulk_delete])
def test_deleted_files(world: World, work: Callable[[Session], None]) -> None:
    """All files are doomed by one statement."""
    statements_on_ledger(world, add)
    assert statements_on_ledger(world, work) == [DOOM]
    assert tags(world) == set()
