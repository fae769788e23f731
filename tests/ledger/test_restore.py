"""A database that is restored to an earlier point, and the objects of that point."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore.ledger.sweep import SweepConfig, SweepResult
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 24 * 3600.0
WEEK = SweepConfig(keep_deleted_for_seconds=7 * DAY)


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[World]:
    """Rows in SQLite, whose database is a file that can be copied, and objects in a folder."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/test.db")
    world = World(engine, tmp_path / "store")
    world.create()
    world.seed()
    yield world
    world.close()
    engine.dispose()


def copy_database(source: Path, target: Path) -> None:
    """Make `target` what `source` is, as back-up tools do."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def file_of(world: World) -> Path:
    """Return the file of the database."""
    assert world.engine.url.database
    return Path(world.engine.url.database)


def change_everything(world: World) -> None:
    """Delete a row, and replace and clear the files of the others."""
    with Session(world.engine) as session:
        session.delete(session.get_one(Document, 1))
        session.get_one(Document, 2).file = a_file("new")
        session.get_one(Document, 3).file = None
        session.commit()


def test_restored_within_the_retention(seeded: World, tmp_path: Path) -> None:
    """Every row of the restored database reads its bytes, however often was swept since."""
    copy_database(file_of(seeded), tmp_path / "backup.db")
    change_everything(seeded)
    for passed in (0.0, 3 * DAY, 4 * DAY - 60):
        seeded.pass_time(passed)
        assert seeded.sweep(WEEK) == SweepResult()
    assert seeded.contents() == {2: ("new", ()), 3: (None, ())}
    seeded.engine.dispose()
    copy_database(tmp_path / "backup.db", file_of(seeded))
    assert seeded.contents() == SEED
    assert seeded.damage() == []


def test_sweeps_after_a_restore(seeded: World, tmp_path: Path) -> None:
    """The restored ledger knows its rows: no sweep takes their objects, and fsck finds what came after the back-up."""
    copy_database(file_of(seeded), tmp_path / "backup.db")
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).file = a_file("new")
        session.commit()
    seeded.engine.dispose()
    copy_database(tmp_path / "backup.db", file_of(seeded))
    seeded.pass_time()
    assert seeded.sweep(WEEK) == SweepResult()
    assert seeded.fsck(repair=True).counts == {"untracked object": 1}
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


def test_after_the_retention(seeded: World, tmp_path: Path) -> None:
    """When the retention is over, the bytes are gone, and a back-up from before it has rows without them."""
    copy_database(file_of(seeded), tmp_path / "backup.db")
    change_everything(seeded)
    seeded.pass_time(7 * DAY + 1)
    assert seeded.sweep(WEEK) == SweepResult(deleted=5)
    assert seeded.objects() == set(seeded.snapshot().rows)
    seeded.engine.dispose()
    copy_database(tmp_path / "backup.db", file_of(seeded))
    assert len(seeded.damage()) == 5
