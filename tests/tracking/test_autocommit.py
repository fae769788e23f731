"""With a ledger and AUTOCOMMIT, under every driver: rows are there from their statement on, and keep their objects."""

from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend
from litestar_filestore.ledger.table import State
from tests.orm.databases import AsyncDatabase, Database, keys_in_rows
from tests.orm.models import Base, Document, a_file


def autocommitting(db: Database) -> object:
    """Return the engine of a database with AUTOCOMMIT."""
    engine = db.async_engine if isinstance(db, AsyncDatabase) else db.engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def test_autocommit_has_no_rollback(db: Database, backend: StorageBackend) -> None:
    """Rows that no rollback takes back keep their objects."""

    def work(session: Session) -> None:
        session.add(Document(id=1, file=a_file()))
        session.flush()
        session.rollback()

    db.run(work, bind=autocommitting(db))
    db.settle()
    ((_, key),) = keys_in_rows(db)
    assert backend.get_content(key) == b"content"


def test_entry_comes_before_the_row(db: Database) -> None:
    """When the row is written, its object is linked already."""
    table = Base.metadata.tables["filestore_object"]

    def work(session: Session) -> None:
        seen: list[str] = []

        def look(*_: object) -> None:
            seen.extend(session.connection().scalars(table.select().with_only_columns(table.c.state)))

        event.listen(Document, "before_insert", look)
        try:
            session.add(Document(id=1, file=a_file()))
            session.commit()
        finally:
            event.remove(Document, "before_insert", look)
        assert seen == [State.LINKED]

    db.run(work, bind=autocommitting(db))
