"""MariaDB where it ends transactions that change what came after their snapshot: its default from 11.6.2 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tests.ledger.models import Base, Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def seeded(mariadb_url: str, tmp_path: Path) -> Iterator[World]:
    """The rows of the seed, behind connections that have it switched on."""
    engine = sa.create_engine(mariadb_url, connect_args={"init_command": "SET innodb_snapshot_isolation = ON"})
    world = World(engine, tmp_path / "store")
    Base.metadata.drop_all(engine)
    world.create()
    world.seed()
    yield world
    assert world.damage() == []
    world.recover()
    assert world.leftovers() == []
    world.close()
    engine.dispose()


def test_replaced_in_a_transaction_that_has_read(seeded: World) -> None:
    """New content can be stored in a transaction whose snapshot would be older than the intent."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = a_file("new")
        session.commit()
    assert seeded.contents() == {**SEED, 1: ("new", ("page", "side"))}


def test_rolled_back(seeded: World) -> None:
    """Rolled back, the new object is deleted at once, as nothing else knows of it."""
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = a_file("new")
        session.flush()
        session.rollback()
    assert len(seeded.objects()) == 5
    assert seeded.contents() == SEED


def test_read_committed(seeded: World) -> None:
    """At READ COMMITTED there is no snapshot, and content is staged as everywhere."""
    with Session(seeded.engine) as session:
        session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        session.get_one(Document, 1).file = a_file("new")
        session.flush()
        assert len(seeded.snapshot().states) == 6
        session.commit()
    assert seeded.contents()[1][0] == "new"
