"""PostgreSQL's triggers doom what raw SQL and cascades take out of rows, and leave alone what sessions do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from litestar_filestore.errors import InvalidArgumentError, UnsupportedOperationError
from litestar_filestore.ledger.migrations import CreateFilestoreTriggers, DropFilestoreTriggers
from litestar_filestore.ledger.table import State
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def url(postgres_url: str) -> str:
    """PostgreSQL only."""
    return postgres_url


def migrate(engine: sa.Engine, *operations: CreateFilestoreTriggers | DropFilestoreTriggers) -> None:
    """Run operations as a migration does."""
    with engine.begin() as connection:
        op = Operations(MigrationContext.configure(connection))
        for operation in operations:
            op.invoke(operation)


DOCUMENT = CreateFilestoreTriggers("document", ["file", "pages"])


@pytest.fixture
def guarded(seeded: World) -> Iterator[World]:
    """The rows of the seed, with triggers on their table."""
    migrate(seeded.engine, DOCUMENT)
    yield seeded
    migrate(seeded.engine, DOCUMENT.reverse())


def execute(world: World, *statements: str) -> None:
    """Execute SQL text in one transaction, without a session."""
    with world.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def doomed(world: World) -> int:
    """Return the number of doomed objects, after a look that nothing else is wrong."""
    assert world.damage() == []
    return list(world.snapshot().states.values()).count(State.DOOMED)


def test_raw_delete(guarded: World) -> None:
    """The files of rows that SQL text deletes are doomed, those of lists too."""
    execute(guarded, "DELETE FROM document WHERE id < 3")
    assert doomed(guarded) == 4


def test_raw_update(guarded: World) -> None:
    """A file that SQL text takes out of a row is doomed, and what stays in the row is not."""
    execute(guarded, "UPDATE document SET file = NULL, pages = pages - 0")
    assert doomed(guarded) == 4
    assert guarded.contents() == {1: (None, ("side",)), 2: (None, ()), 3: (None, ())}


def test_update_of_other_columns(guarded: World) -> None:
    """An update that writes the same files again dooms nothing."""
    execute(guarded, "UPDATE document SET name = 'x', file = file")
    assert doomed(guarded) == 0


def test_rolled_back(guarded: World) -> None:
    """A transaction that rolls back dooms nothing."""
    with guarded.engine.connect() as connection:
        connection.execute(sa.text("DELETE FROM document"))
        connection.rollback()
    assert doomed(guarded) == 0


def test_rolled_back_to_a_savepoint(guarded: World) -> None:
    """What is undone by a savepoint is not doomed, the rest is."""
    execute(
        guarded,
        "DELETE FROM document WHERE id = 2",
        "SAVEPOINT here",
        "DELETE FROM document",
        "ROLLBACK TO SAVEPOINT here",
    )
    assert doomed(guarded) == 1


def test_truncate(guarded: World) -> None:
    """TRUNCATE dooms everything that the table held."""
    execute(guarded, "TRUNCATE document")
    assert doomed(guarded) == 5


def test_cascade(guarded: World) -> None:
    """Rows that the database deletes by a foreign key give their files up, also when a session deletes the parent."""
    execute(
        guarded,
        "CREATE TABLE folder (id integer PRIMARY KEY)",
        "INSERT INTO folder VALUES (1), (2)",
        "ALTER TABLE document ADD COLUMN folder_id integer REFERENCES folder ON DELETE CASCADE",
        "UPDATE document SET folder_id = least(id, 2)",
    )
    try:
        execute(guarded, "DELETE FROM folder WHERE id = 1")
        assert doomed(guarded) == 3
        with Session(guarded.engine) as session:
            session.get_one(Document, 2).file = a_file("new")
            session.flush()
            session.execute(sa.text("DELETE FROM folder WHERE id = 2"))
            session.commit()
        assert guarded.contents() == {}
        assert doomed(guarded) == 6
    finally:
        execute(guarded, "DROP TABLE folder CASCADE")


def test_moved_taken_first(guarded: World) -> None:
    """A file that one row takes before the other gives it up stays."""
    execute(
        guarded,
        "UPDATE document SET file = (SELECT file FROM document WHERE id = 3) WHERE id = 2",
        "UPDATE document SET file = NULL WHERE id = 3",
    )
    assert doomed(guarded) == 1
    assert guarded.contents()[2] == ("three", ())


def test_moved_given_up_first(guarded: World) -> None:
    """A file that one row gives up before the other takes it stays."""
    execute(
        guarded,
        "CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT file FROM document WHERE id = 3",
        "UPDATE document SET file = NULL WHERE id = 3",
        "UPDATE document SET file = kept.file FROM kept WHERE id = 2",
    )
    assert doomed(guarded) == 1
    assert guarded.contents()[2] == ("three", ())


def test_moved_and_deleted(guarded: World) -> None:
    """A file that moves to a row which is deleted in the same transaction is doomed."""
    execute(
        guarded,
        "UPDATE document SET file = (SELECT file FROM document WHERE id = 3) WHERE id = 2",
        "DELETE FROM document WHERE id = 3",
        "DELETE FROM document WHERE id = 2",
    )
    assert doomed(guarded) == 2


def _replace(session: Session) -> None:
    session.get_one(Document, 1).file = a_file("new")


def _delete(session: Session) -> None:
    session.delete(session.get_one(Document, 1))


def _append(session: Session) -> None:
    row = session.get_one(Document, 1)
    assert row.pages is not None
    row.pages.append(a_file("leaf"))


def _move(session: Session) -> None:
    one, two = session.get_one(Document, 1), session.get_one(Document, 2)
    one.file, two.file = None, one.file


def _swap(session: Session) -> None:
    one, two = session.get_one(Document, 1), session.get_one(Document, 2)
    one.file, two.file = two.file, one.file


def _bulk_delete(session: Session) -> None:
    session.execute(sa.delete(Document).where(Document.id < 3))


def _bulk_update(session: Session) -> None:
    session.execute(sa.update(Document).where(Document.id == 2).values(file=a_file("new")))


def _upload(session: Session) -> None:
    session.add(Document(id=4, file=a_file("four")))


def _upload_and_delete(session: Session) -> None:
    session.add(row := Document(id=4, file=a_file("four")))
    session.flush()
    session.delete(row)


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (_replace, 1),
        (_delete, 3),
        (_append, 0),
        (_move, 1),
        (_swap, 0),
        (_bulk_delete, 4),
        (_bulk_update, 1),
        (_upload, 0),
        (_upload_and_delete, 1),
    ],
)
def test_session(guarded: World, work: Callable[[Session], None], count: int) -> None:
    """What a session does is doomed once, without a conflict, and nothing else is."""
    with Session(guarded.engine) as session:
        work(session)
        session.commit()
    assert doomed(guarded) == count


def test_session_and_raw_sql_in_one_transaction(guarded: World) -> None:
    """A session that replaces a file, and SQL text that deletes the row after it."""
    with Session(guarded.engine) as session:
        _replace(session)
        session.flush()
        session.execute(sa.text("DELETE FROM document WHERE id = 1"))
        session.commit()
    assert doomed(guarded) == 4


def test_dropped(guarded: World) -> None:
    """Without the triggers raw SQL leaves entries behind, for fsck; the functions are gone with their last trigger."""
    migrate(guarded.engine, DOCUMENT.reverse())
    try:
        with guarded.engine.begin() as connection:
            functions = connection.execute(sa.text("SELECT proname FROM pg_proc WHERE proname LIKE 'filestore%'")).all()
            connection.execute(sa.text("DELETE FROM document WHERE id = 2"))
        assert functions == []
        assert [damage.partition(":")[0] for damage in guarded.damage()] == ["linked entry without row"]
        assert guarded.fsck(repair=True).doomed == 1
    finally:
        migrate(guarded.engine, DOCUMENT)


def test_two_tables(guarded: World) -> None:
    """Dropping the triggers of one table leaves those of another at work."""
    execute(guarded, 'CREATE TABLE "Other Papers" (id integer PRIMARY KEY, "the file" jsonb)')
    other = CreateFilestoreTriggers("Other Papers", ["the file"])
    try:
        migrate(guarded.engine, other, other.reverse())
        execute(guarded, "DELETE FROM document WHERE id = 2")
        assert doomed(guarded) == 1
    finally:
        execute(guarded, 'DROP TABLE "Other Papers"')


def test_reversed_twice() -> None:
    """An operation that is reversed twice is what it was."""
    operation = CreateFilestoreTriggers("document", ["file"], schema="papers", ledger_schema="files")
    assert vars(operation.reverse().reverse()) == vars(operation)


def test_as_migrations_call_it(seeded: World) -> None:
    """``op.create_filestore_triggers`` and ``op.drop_filestore_triggers`` are there for migrations."""
    with seeded.engine.begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            from alembic import op

            op.create_filestore_triggers("document", ["file"], schema="public", ledger_schema="public")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        connection.execute(sa.text("DELETE FROM document WHERE id = 2"))
    assert doomed(seeded) == 1
    with seeded.engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        op.drop_filestore_triggers("document", schema="public", ledger_schema="public")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert seeded.contents() == {1: SEED[1], 3: SEED[3]}


def test_other_database() -> None:
    """Elsewhere the operation says that it cannot."""
    engine = sa.create_engine("sqlite://")
    with pytest.raises(UnsupportedOperationError, match="PostgreSQL, not for sqlite"):
        migrate(engine, DOCUMENT)
    engine.dispose()


def test_no_column(guarded: World) -> None:
    """Triggers without a column are refused."""
    with pytest.raises(InvalidArgumentError, match="at least one"):
        migrate(guarded.engine, CreateFilestoreTriggers("document", []))


def test_triggers_of_a_table_that_is_not_there(seeded: World) -> None:
    """A wrong table is the database's error, and leaves nothing behind."""
    with pytest.raises(DBAPIError, match="missing"):
        migrate(seeded.engine, CreateFilestoreTriggers("missing", ["file"]))
    with seeded.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT FROM pg_proc WHERE proname LIKE 'filestore%'")).all() == []
