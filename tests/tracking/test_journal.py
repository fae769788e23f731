"""Without a ledger, deletes that fail are kept and tried again."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session

from litestar_filestore import StorageBackend
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyDriver
from litestar_filestore.tracking.deletes import retry_deletes, retry_deletes_async
from tests.orm.databases import Database, keys_in, keys_in_rows
from tests.tracking.papers import Base, Paper, delete_all, insert, key_of

DOWN = BackendUnavailableError("The store is down")


@pytest.fixture
def base() -> type[DeclarativeBase]:
    """Models without a ledger."""
    return Base


def test_failed_delete_does_not_fail_the_commit(db: Database, driver: FaultyDriver, backend: StorageBackend) -> None:
    """The rows are committed by then; the object is kept for another try, which succeeds."""
    db.run(insert)
    driver.plan.append(Fault("delete", DOWN))
    db.run(delete_all)
    assert keys_in_rows(db) == set()
    assert len(keys_in(backend)) == 1
    assert retry_deletes() == 0


def test_failed_delete_is_tried_again_with_the_next_transaction(db: Database, driver: FaultyDriver) -> None:
    """Nothing has to be called for it."""
    db.run(lambda session: insert(session, 2))
    driver.plan.append(Fault("delete", DOWN))

    def work(session: Session) -> None:
        for number in (1, 2):
            session.delete(session.get_one(Paper, number))
            session.commit()

    db.run(work)


def test_failed_delete_is_named_in_the_log(
    db: Database, driver: FaultyDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator learns which object is left."""
    db.run(insert)
    key = key_of(db)
    driver.plan.append(Fault("delete", DOWN))
    db.run(delete_all)
    assert key in caplog.text
    retry_deletes()


def test_foreign_exception_of_a_delete_does_not_fail_the_commit(db: Database, driver: FaultyDriver) -> None:
    """A store may raise what nobody translated, and the rows are committed all the same."""
    db.run(insert)
    driver.plan.append(Fault("delete", RuntimeError("not of this package")))
    db.run(delete_all)
    assert retry_deletes() == 0


def test_store_that_is_down_is_asked_once_per_transaction(db: Database, driver: FaultyDriver) -> None:
    """An outage costs one attempt, however many objects wait."""
    db.run(lambda session: insert(session, 5))
    driver.plan.append(Fault("delete", DOWN, times=None))
    db.run(delete_all)
    assert sum(call.operation == "delete" for call in driver.calls) == 1
    driver.plan.clear()
    assert retry_deletes() == 0


async def test_failed_delete_is_tried_again_on_an_event_loop(backend: StorageBackend, driver: FaultyDriver) -> None:
    """`retry_deletes_async` does what `retry_deletes` does."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        insert(session)
        driver.plan.append(Fault("delete", DOWN, times=2))
        delete_all(session)
    assert await retry_deletes_async() == 1
    assert await retry_deletes_async() == 0
    assert keys_in(backend) == set()
    engine.dispose()
