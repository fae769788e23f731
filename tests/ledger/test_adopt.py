"""Rows from before the ledger are entered into it, and looked after from then on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend
from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.core.types import ObjectInfo
from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.ledger.adopt import Adoption, MissingObject, adopt
from litestar_filestore.ledger.ledger import ObjectKey
from litestar_filestore.ledger.places import mappers_with_files
from tests.ledger.models import Base, Document, a_file
from tests.ledger.world import LEDGER, SEED, World

MAPPERS = [sa.inspect(Document)]


@pytest.fixture
def old(seeded: World) -> World:
    """Rows that the ledger does not know."""
    with seeded.engine.begin() as connection:
        connection.execute(sa.delete(LEDGER))
    return seeded


def test_adopt(old: World) -> None:
    """Every file of every row gets an entry; a second run finds them there."""
    assert adopt(old.engine, LEDGER, MAPPERS) == Adoption(adopted=5, known=0, shared=())
    assert adopt(old.engine, LEDGER, MAPPERS) == Adoption(adopted=0, known=5, shared=())
    assert old.damage() == []


def test_adopted_files_are_looked_after(old: World) -> None:
    """What a row gives up after its adoption is swept."""
    adopt(old.engine, LEDGER, MAPPERS)
    with Session(old.engine) as session:
        session.get_one(Document, 1).file = a_file("new")
        session.delete(session.get_one(Document, 2))
        session.commit()
    old.recover()
    assert old.leftovers() == []
    assert old.contents() == {1: ("new", ("page", "side")), 3: SEED[3]}


def test_object_before_its_adoption(old: World) -> None:
    """Without an entry, what a row gives up stays: another row may hold it too. fsck finds it later."""
    with Session(old.engine) as session:
        session.delete(session.get_one(Document, 2))
        session.commit()
    old.recover()
    assert len(old.objects()) == 5
    report = old.fsck(repair=True)
    assert (report.adopted, report.doomed) == (4, 1)


def test_rows_without_bytes_are_reported(old: World) -> None:
    """A row whose object is gone before its adoption is named; of a backend that cannot list, each is looked up."""
    with Session(old.engine) as session:
        file = session.get_one(Document, 2).file
    assert file is not None
    content = file.get_content()
    old.backend.delete_object(file.path)
    lost = (MissingObject(ObjectKey(file.backend_key, file.path), ("Document(2).file",)),)
    assert adopt(old.engine, LEDGER, MAPPERS).missing == ()
    found = adopt(old.engine, LEDGER, MAPPERS, [old.backend])
    assert (found.known, found.missing, found.missing_count) == (5, lost, 1)

    class Unlisted(LocalDriver):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            raise UnsupportedOperationError(prefix)

    driver = old.backend.storage_driver
    assert isinstance(driver, LocalDriver)
    unlisted = StorageBackend(old.backend.key, driver=Unlisted(driver.root))
    assert adopt(old.engine, LEDGER, MAPPERS, [unlisted]).missing == lost
    old.backend.put(content, key=file.path)


def test_progress(old: World) -> None:
    """Who asks hears how far the rows are read, the entries made and the stores compared, one after the other."""
    told: list[tuple[int, int | None]] = []
    adopt(old.engine, LEDGER, MAPPERS, [old.backend], on_progress=lambda done, total: told.append((done, total)))
    read = [done for done, total in told if total is None]
    assert told == [*((done, None) for done in read), (5, 5), (5, 5)]
    assert read[-1] >= 5
    assert read == sorted(read)


@pytest.mark.slow
def test_all_pages_are_read(world: World) -> None:
    """Tables of more rows than one page are read to their end."""
    with Session(world.engine) as session:
        key = "2026/01/{:04}"
        for number in range(1, 1202):
            world.backend.put(b"x", key=key.format(number))
        session.execute(
            sa.text("INSERT INTO document (id, file) VALUES (:id, :file)"),
            [
                {
                    "id": number,
                    "file": f'{{"filename": "f", "to_filename": "{key.format(number)}", "backend": "ledger"}}',
                }
                for number in range(1, 1202)
            ],
        )
        session.commit()
    assert adopt(world.engine, LEDGER, MAPPERS).adopted == 1201
    assert world.fsck(repair=False).is_clean


def test_mappers_with_files() -> None:
    """The mapped classes of a metadata that have file columns are found."""
    mappers = list(Base.registry.mappers)
    assert mappers_with_files(Base.metadata, mappers) == MAPPERS
    assert mappers_with_files(sa.MetaData(), mappers) == []
