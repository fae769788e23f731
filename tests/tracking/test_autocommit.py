"""Where each statement commits itself, rows with files are refused before anything is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject
from litestar_filestore.errors import LedgerError
from tests.orm.databases import AsyncDatabase, Database, keys_in_rows
from tests.orm.models import Document, a_file
from tests.tracking.papers import Base as Papers, Paper

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar_filestore.testing.faults import FaultyDriver

ENGINES = ["options of the engine", "argument of the engine"]


def autocommitting(db: Database, how: str = ENGINES[0]) -> Any:
    """Return an engine of the same database with AUTOCOMMIT."""
    engine = db.async_engine if isinstance(db, AsyncDatabase) else db.engine
    if how == ENGINES[0]:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    create: Any = create_async_engine if isinstance(db, AsyncDatabase) else sa.create_engine
    return create(engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


def refuse(session: Session, work: Callable[[], object]) -> None:
    """Do what is to be refused."""
    with pytest.raises(LedgerError, match=r"AUTOCOMMIT.*isolation_level"):
        work()
    session.rollback()


@pytest.mark.parametrize("how", ENGINES)
def test_new_row(db: Database, driver: FaultyDriver, how: str) -> None:
    """Nothing is stored, and no row is written, neither of this class nor of another one in the same flush."""

    def work(session: Session) -> None:
        session.add_all([Document(id=1), Document(id=2, file=a_file())])
        refuse(session, session.flush)

    db.run(work, bind=autocommitting(db, how))
    assert "put" not in [call.operation for call in driver.calls]
    assert db.run(lambda session: session.scalars(sa.select(Document)).all()) == []


@pytest.mark.parametrize("change", ["replace", "clear", "append", "delete", "delete by statement", "update", "insert"])
def test_changes(db: Database, change: str) -> None:
    """Nothing replaces or deletes files of rows that are there, nor gives files to new ones by a statement."""

    def add(session: Session) -> None:
        session.add(Document(id=1, file=a_file(), pages=[a_file()]))
        session.commit()

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        if change == "replace":
            row.file = a_file(b"new")
        elif change == "clear":
            row.file = None
        elif change == "append":
            assert row.pages is not None
            row.pages.append(a_file())
        elif change == "delete":
            session.delete(row)
        statements: dict[str, Any] = {
            "delete by statement": sa.delete(Document),
            "update": sa.update(Document).values(file=None),
            "insert": sa.insert(Document).values(id=2, file=a_file()),
        }
        refuse(session, lambda: session.execute(statements[change]) if change in statements else session.commit())

    db.run(add)
    db.run(work, bind=autocommitting(db))
    assert len(keys_in_rows(db)) == 2


def test_connection(db: Database) -> None:
    """So where the option is the connection's, or given to the session for its connection."""

    def work(session: Session) -> None:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        session.add(Document(id=1, file=a_file()))
        refuse(session, session.commit)

    def work_on_connection(connection: sa.Connection) -> None:
        with Session(connection.execution_options(isolation_level="AUTOCOMMIT")) as session:
            session.add(Document(id=1, file=a_file()))
            refuse(session, session.commit)

    db.run(work)
    db.connect(work_on_connection)


def test_what_has_no_files(db: Database) -> None:
    """Rows without files, and statements that leave files alone, are nobody's business."""

    def work(session: Session) -> None:
        session.add(row := Document(id=1, name="one"))
        session.flush()
        row.name = "first"
        session.flush()
        session.execute(sa.update(Document).values(name="all"))
        session.execute(sa.insert(Document), [{"id": 2, "name": "two"}])

    db.run(work, bind=autocommitting(db))
    names = db.run(lambda session: session.scalars(sa.select(Document.name).order_by(Document.id)).all())
    assert names == ["all", "two"]


def test_before_sqlalchemy_2_0_43(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed with versions of SQLAlchemy that cannot ask the driver."""
    monkeypatch.setattr(type(db.engine.dialect), "detect_autocommit_setting", None, raising=False)

    def work(session: Session) -> None:
        session.add(Document(id=1, file=a_file()))
        refuse(session, session.commit)

    for how in ENGINES:
        db.run(work, bind=autocommitting(db, how))

    def add(session: Session) -> None:
        session.add(Document(id=2, file=a_file()))
        session.commit()

    db.run(add)
    assert len(keys_in_rows(db)) == 1


@pytest.mark.parametrize("db", ["sqlite", "aiosqlite"], indirect=True)
def test_application_that_begins_by_itself(db: Database) -> None:
    """With sqlite3 an application may switch the driver's transactions off and send BEGIN itself."""

    def switch_off(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    if isinstance(db, AsyncDatabase):
        db.runner.run(db.async_engine.dispose())
    else:
        db.engine.dispose()
    event.listen(db.engine, "connect", switch_off)
    event.listen(db.engine, "begin", begin)

    def work(session: Session) -> None:
        session.add(Document(id=1, file=a_file()))
        session.commit()
        session.get_one(Document, 1).file = a_file(b"rolled back")
        session.flush()
        session.rollback()
        found = session.get_one(Document, 1).file
        assert isinstance(found, FileObject)
        assert found.get_content() == b"content"

    db.run(work)


class TestWithoutLedger:
    """The same where nobody keeps a ledger."""

    @pytest.fixture
    def base(self) -> type[Papers]:
        """Models without a ledger."""
        return Papers

    def test_new_row(self, db: Database, driver: FaultyDriver) -> None:
        """Nothing is stored."""

        def work(session: Session) -> None:
            session.add(Paper(id=1, file=a_file()))
            refuse(session, session.commit)

        db.run(work, bind=autocommitting(db))
        assert "put" not in [call.operation for call in driver.calls]
