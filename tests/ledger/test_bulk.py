"""Statements on classes link and doom the files of exactly the rows that they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError, UnsupportedOperationError
from litestar_filestore.ledger.points import on_point
from tests.ledger.async_world import HALVES
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from sqlalchemy.sql.base import Executable

pytestmark = pytest.mark.parametrize("half", HALVES)


def execute(world: World, statement: Executable, parameters: list[dict[str, object]] | None = None) -> None:
    """Execute and commit."""

    def work(session: Session) -> None:
        session.execute(statement, parameters)
        session.commit()

    world.run(work)


def test_delete(seeded: World) -> None:
    """DELETE dooms the files of the rows that it deletes."""
    execute(seeded, sa.delete(Document).where(Document.id < 3))
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {3: SEED[3]}


def test_delete_everything(seeded: World) -> None:
    """DELETE without a condition dooms everything."""
    execute(seeded, sa.delete(Document))
    seeded.recover()
    assert seeded.objects() == set()


def test_delete_nothing(seeded: World) -> None:
    """DELETE that meets no row changes nothing."""
    execute(seeded, sa.delete(Document).where(Document.id > 100))
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


def test_update(seeded: World) -> None:
    """UPDATE of one row stores, links and dooms."""
    execute(seeded, sa.update(Document).where(Document.id == 2).values(file=a_file("new")))
    seeded.recover()
    assert seeded.contents() == {**SEED, 2: ("new", ())}


def test_update_to_null(seeded: World) -> None:
    """UPDATE that clears a column dooms the files of all rows that it meets."""
    execute(seeded, sa.update(Document).values(file=None))
    seeded.recover()
    assert seeded.contents() == {number: (None, pages) for number, (_, pages) in SEED.items()}


def test_update_of_another_column(seeded: World) -> None:
    """UPDATE of other columns does not touch files."""
    execute(seeded, sa.update(Document).values(name="all"))
    assert seeded.leftovers() == []


def test_update_of_no_row(seeded: World) -> None:
    """UPDATE with new content that meets no row is no error; the content is swept."""
    execute(seeded, sa.update(Document).where(Document.id == 99).values(file=a_file("new")))
    assert seeded.contents() == SEED


def test_update_by_key(seeded: World) -> None:
    """UPDATE of a list of rows by primary key gives each its own file."""
    execute(seeded, sa.update(Document), [{"id": 1, "file": a_file("a")}, {"id": 2, "file": None}])
    seeded.recover()
    assert seeded.contents() == {**SEED, 1: ("a", ("page", "side")), 2: (None, ())}


def test_one_file_for_several_rows(seeded: World) -> None:
    """UPDATE that would give one file to several rows is refused."""
    with pytest.raises(ConflictError, match="one by one"):
        execute(seeded, sa.update(Document).values(file=a_file("new")))
    assert seeded.contents() == SEED


def test_insert(seeded: World) -> None:
    """INSERT stores and links, with values in the statement and with parameters."""
    execute(seeded, sa.insert(Document).values(id=4, file=a_file("four")))
    execute(seeded, sa.insert(Document), [{"id": 5, "file": a_file("five")}, {"id": 6, "pages": [a_file("six")]}])
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 4: ("four", ()), 5: ("five", ()), 6: (None, ("six",))}


def test_insert_from_select(seeded: World) -> None:
    """INSERT .. SELECT of a file column would give files to two rows each, and is refused."""
    select = sa.select(Document.id + 10, Document.file)
    with pytest.raises(UnsupportedOperationError, match=r"assign file\.copy\(\)"):
        execute(seeded, sa.insert(Document).from_select(["id", "file"], select))
    assert seeded.contents() == SEED


def test_rolled_back(seeded: World) -> None:
    """A statement whose transaction is rolled back has doomed nothing."""

    def work(session: Session) -> None:
        session.execute(sa.delete(Document))
        session.rollback()

    seeded.run(work)
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # on SQLite nobody else can write meanwhile
def test_row_that_is_inserted_meanwhile(seeded: World) -> None:
    """A row that another transaction commits after the statement looked is not deleted with its file still linked."""
    looked = False

    def insert(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        nonlocal looked
        if "FOR UPDATE" in sql and not looked:
            looked = True
            with Session(seeded.engine) as other:
                other.add(Document(id=4, file=a_file("four")))
                other.commit()

    event.listen(seeded.bind, "after_cursor_execute", insert)
    execute(seeded, sa.delete(Document).where(Document.id > 1))
    assert looked
    seeded.recover()
    assert seeded.contents() == {1: SEED[1], 4: ("four", ())}


def test_row_that_changes_before_the_lock(seeded: World) -> None:
    """The file that goes is the one that the row holds when it is locked."""

    def replace(point: str) -> None:
        if point == "put.after":
            on_point(None)
            with Session(seeded.engine) as other:
                other.get_one(Document, 2).file = a_file("between")
                other.commit()

    on_point(replace)
    execute(seeded, sa.update(Document).where(Document.id == 2).values(file=a_file("last")))
    assert seeded.contents() == {**SEED, 2: ("last", ())}


def test_statement_on_the_table(seeded: World) -> None:
    """A statement on the table instead of the class cannot be seen; fsck finds what it leaves, and mends it."""
    table = sa.inspect(Document).local_table
    assert isinstance(table, sa.Table)
    execute(seeded, sa.delete(table).where(table.c.id == 2))
    assert [damage.partition(":")[0] for damage in seeded.damage()] == ["linked entry without row"]
    assert seeded.fsck(repair=True).doomed == 1


def take_the_file_of_another_row(session: Session) -> None:
    """Execute a statement that is refused for what it has done."""
    file = session.get_one(Document, 3).file
    with pytest.raises(ConflictError, match="another row"):
        session.execute(sa.update(Document).where(Document.id == 1).values(file=file))


def test_commit_after_a_refused_statement(seeded: World) -> None:
    """The rows of a statement that was refused are written already, so its transaction cannot be committed."""

    def work(session: Session) -> None:
        take_the_file_of_another_row(session)
        with pytest.raises(ConflictError, match="roll it back"):
            session.commit()
        session.rollback()
        session.get_one(Document, 2).name = "after"
        session.commit()

    seeded.run(work)
    assert seeded.contents() == SEED


def test_savepoint_around_a_refused_statement(seeded: World) -> None:
    """Rolling back to a savepoint before it makes the transaction whole again; releasing it does not work."""

    def work(session: Session) -> None:
        session.get_one(Document, 2).file = a_file("new")
        session.flush()
        savepoint = session.begin_nested()
        take_the_file_of_another_row(session)
        with pytest.raises(ConflictError, match="roll it back"):
            savepoint.commit()
        savepoint.rollback()
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {**SEED, 2: ("new", ())}
