"""Two sessions that change rows of two classes, each in its own order."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend, storages
from litestar_filestore.errors import ConflictError
from litestar_filestore.ledger.fsck import FsckConfig, fsck
from litestar_filestore.ledger.places import mappers_with_files
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import ledger_of
from tests.ledger.models import a_file
from tests.ledger.two_models import BACKEND, Invoice, Receipt, TwoBase
from tests.ledger.world import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 15


@pytest.fixture(params=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An invoice and a receipt with a file each. In the end rows, ledger and objects fit together."""
    url: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mariadb_url")
    engine = sa.create_engine(url)
    backend = LocalBackend(BACKEND, tmp_path / "store", fsync=False)
    storages.register_backend(backend)
    TwoBase.metadata.drop_all(engine)
    TwoBase.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Invoice(id=1, file=a_file("a", BACKEND)), Receipt(id=1, file=a_file("b", BACKEND))])
        session.commit()
    yield engine
    table = ledger_of(TwoBase.metadata)
    assert table is not None
    with engine.begin() as connection:
        connection.execute(sa.update(table).values(not_before=table.c.not_before - LONG))
    sweep(engine, table, storages)
    mappers = mappers_with_files(TwoBase.metadata, [sa.inspect(Invoice), sa.inspect(Receipt)])
    report = fsck(engine, table, mappers, [backend], FsckConfig(minimum_age_seconds=-LONG))
    assert report.is_clean, report.findings
    assert (report.objects, report.row_files) == (2, 2)
    TwoBase.metadata.drop_all(engine)
    storages.unregister_backend(BACKEND)
    engine.dispose()


def both(*works: Callable[[], None]) -> list[DBAPIError]:
    """Run each in a thread, and return the errors of the database."""
    errors: list[DBAPIError] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except DBAPIError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_one_flush(engine: sa.Engine) -> None:
    """Within a flush everybody locks in one order, whatever order the rows were changed in: no deadlock."""
    start = threading.Barrier(2, timeout=20)

    def replace(*classes: type[Invoice | Receipt]) -> None:
        for _ in range(ROUNDS):
            start.wait()
            # Who comes second finds rows that are not what he has loaded.
            with suppress(ConflictError), Session(engine) as session:
                rows: list[Any] = [session.get_one(class_, 1) for class_ in classes]  # first, as loading flushes
                for row in rows:
                    row.file = a_file("new", BACKEND)
                session.commit()

    assert both(lambda: replace(Invoice, Receipt), lambda: replace(Receipt, Invoice)) == []


def test_two_flushes(engine: sa.Engine) -> None:
    """Sessions that flush in opposite orders wait for each other: one of them is told, and loses no bytes by it."""
    start = threading.Barrier(2, timeout=20)

    def replace(first: type[Invoice | Receipt], second: type[Invoice | Receipt]) -> None:
        with Session(engine) as session:
            row: Any = session.get_one(first, 1)
            row.file = a_file("new", BACKEND)
            session.flush()
            start.wait()
            row = session.get_one(second, 1)
            row.file = a_file("new", BACKEND)
            session.commit()

    errors = both(lambda: replace(Invoice, Receipt), lambda: replace(Receipt, Invoice))
    assert len(errors) == 1
    assert "deadlock" in str(errors[0].orig).lower()
