"""Rows from before the ledger are entered into it, and looked after from then on."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore.ledger.adopt import Adoption, adopt
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
