"""What bulk statements may give to columns with files, and what is refused before anything is stored or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError, UnsupportedOperationError
from litestar_filestore.ledger.points import on_point
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable

INSERTS: dict[str, Callable[[Any], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
    "mariadb": mysql.insert,
}


def refuse(world: World, statement: Any, parameters: Any = None, error: type[Exception] = ConflictError) -> None:
    """Execute what is to be refused, go on, and find everything as it was."""
    with Session(world.engine) as session:
        with pytest.raises(error):
            session.execute(statement, parameters, execution_options={"synchronize_session": False})
        session.commit()
    assert world.contents() == SEED
    world.recover()
    assert len(world.objects()) == 5


@pytest.mark.parametrize(
    "value",
    [
        sa.case((Document.id == 1, sa.null()), else_=Document.file),
        Document.file,
        sa.func.coalesce(Document.file, sa.null()),
        sa.select(Document.file).where(Document.id == 1).scalar_subquery(),
    ],
    ids=["case", "column", "function", "subquery"],
)
def test_expressions(seeded: World, value: Any) -> None:
    """What only the database can compute is refused, in UPDATE, INSERT and on loaded rows."""
    refuse(seeded, sa.update(Document).values(file=value), error=UnsupportedOperationError)
    refuse(seeded, sa.insert(Document).values(id=9, file=value), error=UnsupportedOperationError)
    with Session(seeded.engine) as session:
        setattr(session.get_one(Document, 1), "file", value)  # noqa: B010
        with pytest.raises(UnsupportedOperationError, match="'file'"):
            session.flush()
    assert seeded.contents() == SEED


def test_null(seeded: World) -> None:
    """SQL's NULL is no expression but no file."""
    with Session(seeded.engine) as session:
        session.execute(sa.update(Document).where(Document.id == 2).values(file=sa.null()))
        setattr(session.get_one(Document, 3), "file", sa.null())  # noqa: B010
        session.commit()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 2: (None, ()), 3: (None, ())}


def test_bound_parameter(seeded: World) -> None:
    """A file that is given as a parameter by its name is stored and linked like any other."""
    update = sa.update(Document).where(Document.id == 2).values(file=sa.bindparam("new"))
    insert = sa.insert(Document).values(id=4, file=sa.bindparam("new"))
    with Session(seeded.engine) as session:
        session.execute(update, {"new": a_file("new")}, execution_options={"synchronize_session": False})
        session.execute(insert, {"new": a_file("four")})
        session.commit()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 2: ("new", ()), 4: ("four", ())}


def test_row_that_is_named_twice(seeded: World) -> None:
    """Only one of two files for one row could stay."""
    refuse(seeded, sa.update(Document), [{"id": 2, "file": a_file("a")}, {"id": 2, "file": a_file("b")}])


def test_locks_of_updates_by_key(seeded: World) -> None:
    """All content is stored, with an intent, before the first row is locked; rows are locked in one order."""
    passed: list[str] = []

    def see(_connection: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        if sql.startswith("SELECT") and "document" in sql.partition("WHERE")[0]:
            values = parameters.values() if isinstance(parameters, dict) else parameters
            passed.append(f"lock {next(iter(values))}")

    on_point(passed.append)
    with Session(seeded.engine) as session:
        event.listen(seeded.engine, "before_cursor_execute", see)
        session.execute(sa.update(Document), [{"id": number, "file": a_file("new")} for number in (3, 1, 2)])
        event.remove(seeded.engine, "before_cursor_execute", see)
        session.commit()
    on_point(None)
    steps = [each for each in passed if each.startswith("lock") or each in {"put.after", "note.after"}]
    assert steps == ["put.after"] * 3 + ["lock 1", "lock 2", "lock 3"]


def upsert(world: World, **values: Any) -> Any:
    """Return an INSERT of the database's own kind."""
    return INSERTS[world.engine.dialect.name](Document).values(**values)


def updating(statement: Any, changes: dict[str, Any]) -> Any:
    """Return the INSERT as one that changes the row that is there already."""
    if hasattr(statement, "on_duplicate_key_update"):
        return statement.on_duplicate_key_update(**changes)
    return statement.on_conflict_do_update(index_elements=["id"], set_=changes)


def test_upsert_of_a_file(seeded: World) -> None:
    """Nobody could tell whether the row was there, and so whose file it is."""
    statement = upsert(seeded, id=2, file=a_file("new"))
    refuse(seeded, updating(statement, {"name": "new"}), error=UnsupportedOperationError)
    refuse(seeded, updating(upsert(seeded, id=2, name="new"), {"file": None}), error=UnsupportedOperationError)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_insert_that_may_do_nothing(seeded: World) -> None:
    """The same where a row that is there keeps its file."""
    statement = upsert(seeded, id=2, file=a_file("new")).on_conflict_do_nothing()
    refuse(seeded, statement, error=UnsupportedOperationError)


def test_upsert_of_other_columns(seeded: World) -> None:
    """An upsert that has nothing to do with files is none of our business."""
    with Session(seeded.engine) as session:
        session.execute(updating(upsert(seeded, id=2, name="new"), {"name": "changed"}))
        session.commit()
        assert session.get_one(Document, 2).name == "changed"
    assert seeded.contents() == SEED


# -- what the session has not written yet


def test_new_row_is_deleted(seeded: World) -> None:
    """Rows that were added but not flushed are met by a DELETE, and their files are given up."""
    with Session(seeded.engine) as session:
        session.add(Document(id=4, file=a_file("four")))
        result = session.execute(sa.delete(Document).where(Document.id > 2))
        session.commit()
    assert getattr(result, "rowcount", None) == 2
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {1: SEED[1], 2: SEED[2]}


def test_changed_row_is_met(seeded: World) -> None:
    """The condition sees what the session has changed, also a file."""
    with Session(seeded.engine) as session:
        row = session.get_one(Document, 1)
        row.name, row.file = "changed", a_file("new")
        session.execute(sa.update(Document).where(Document.name == "changed").values(file=None))
        session.commit()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: (None, SEED[1][1])}


def test_no_autoflush(seeded: World) -> None:
    """Inside `no_autoflush` the statement meets what the database holds."""
    with Session(seeded.engine) as session, session.no_autoflush:
        session.add(Document(id=4, file=a_file("four")))
        session.execute(sa.delete(Document).where(Document.id > 2))
        session.commit()
    assert seeded.contents() == {1: SEED[1], 2: SEED[2], 4: ("four", ())}


# -- the session's old methods


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.bulk_save_objects([Document(id=4, file=a_file("four"))]),
        lambda session: session.bulk_insert_mappings(sa.inspect(Document), [{"id": 4, "file": a_file("four")}]),
        lambda session: session.bulk_insert_mappings(Document, [{"id": 4, "pages": []}], return_defaults=True),
        lambda session: session.bulk_update_mappings(Document, [{"id": 1, "file": None}]),
        lambda session: session.bulk_update_mappings(Document, [{"id": 1, "name": "n"}, {"id": 1, "pages": None}]),
    ],
    ids=["objects", "insert", "insert of no files", "update", "second of two"],
)
def test_old_methods(seeded: World, write: Callable[[Session], None]) -> None:
    """`bulk_save_objects` and its like are refused where they write a file column, after a flush or a refusal too."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "flushed"
        session.flush()
        for _ in range(2):
            with pytest.raises(UnsupportedOperationError, match=r"add_all\(\), or execute"):
                write(session)
            session.rollback()
        session.commit()
    assert seeded.contents() == SEED


def test_stored_file_in_an_old_method(seeded: World) -> None:
    """So is a file that was stored before: no row would be linked to it, and the next sweep would delete it."""
    file = a_file("four")
    with Session(seeded.engine) as session:
        session.add(Document(id=9, file=file))
        session.flush()
        session.rollback()
        with pytest.raises(UnsupportedOperationError, match="add_all"):
            session.bulk_insert_mappings(sa.inspect(Document), [{"id": 4, "file": file}])
    assert seeded.contents() == SEED


def test_old_methods_without_files(seeded: World) -> None:
    """They write other columns of the same class, and a flush after them is followed."""
    with Session(seeded.engine) as session:
        session.bulk_insert_mappings(sa.inspect(Document), [{"id": 4, "name": "four"}])
        session.bulk_update_mappings(sa.inspect(Document), [{"id": 1, "name": "one"}])
        session.bulk_save_objects([Document(id=5)])
        session.add(Document(id=6, file=a_file("six")))
        session.commit()
        session.get_one(Document, 4).file = a_file("four")
        session.commit()
    assert seeded.contents() == {**SEED, 4: ("four", ()), 5: (None, ()), 6: ("six", ())}


# -- others who listen


@pytest.mark.parametrize("mark", [True, False])
def test_soft_delete(seeded: World, mark: bool) -> None:  # noqa: FBT001
    """A row that another listener keeps from being deleted keeps its files, whether it is changed or not."""

    def keep(session: Session, *_: object) -> None:
        for row in list(session.deleted):
            session.add(row)
            if mark:
                row.name = "deleted"

    with Session(seeded.engine) as session:
        event.listen(session, "before_flush", keep)
        session.delete(session.get_one(Document, 1))
        session.commit()
    seeded.recover()
    assert seeded.contents() == SEED


def test_session_that_routes(seeded: World) -> None:
    """A session that reads from a follower looks rows up, and writes the ledger, where it writes the rows."""
    follower = sa.create_engine("sqlite://")
    Document.metadata.create_all(follower)
    leader = seeded.engine

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> sa.Engine:
            return leader if self._flushing or isinstance(clause, (sa.Update, sa.Delete)) else follower

    with Routing() as session:
        assert session.scalars(sa.select(Document)).all() == []
        session.execute(sa.delete(Document).where(Document.id == 1))
        session.execute(sa.update(Document).where(Document.id == 2).values(file=a_file("new")))
        session.add(Document(id=4, file=a_file("four")))
        session.commit()
    follower.dispose()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {2: ("new", ()), 3: SEED[3], 4: ("four", ())}
