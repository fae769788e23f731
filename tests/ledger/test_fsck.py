"""fsck finds what rows, ledger and store disagree about, and mends what it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend
from litestar_filestore.errors import LedgerError
from litestar_filestore.ledger.fsck import FsckConfig, FsckReport, fsck
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.sweep import SweepResult
from litestar_filestore.ledger.table import State
from tests.ledger.models import BACKEND, Document, a_file
from tests.ledger.world import LEDGER, LONG, SEED, World

if TYPE_CHECKING:
    from pathlib import Path

MAPPERS = [sa.inspect(Document)]


def key_of(world: World, number: int) -> str:
    """Return the key of a row's file."""
    with Session(world.engine) as session:
        file = session.get_one(Document, number).file
    assert file is not None
    return file.path


def statement(world: World, sql: str) -> None:
    """Do something that the session events cannot see."""
    with world.engine.begin() as connection:
        connection.execute(sa.text(sql))


def test_nothing_to_find(seeded: World) -> None:
    """Where everything fits, it counts and finds nothing."""
    report = seeded.fsck(repair=True)
    assert report.is_clean
    assert (report.objects, report.entries, report.row_files) == (5, 5, 5)


def test_dry_run_changes_nothing(seeded: World) -> None:
    """Without `repair` findings are reported, and nothing is doomed, adopted or marked."""
    seeded.backend.put(b"stray", key="stray")
    statement(seeded, "DELETE FROM filestore_object WHERE state = 'linked'")
    report = seeded.fsck(repair=False)
    assert report.counts == {"untracked object": 1, "row without ledger": 5}
    assert (report.doomed, report.adopted) == (0, 0)
    assert seeded.snapshot().states == {}
    assert not (seeded.root / ".filestore" / "database").exists()
    seeded.fsck(repair=True)


def test_untracked_object(seeded: World) -> None:
    """An object that nobody knows is handed to the sweeper."""
    seeded.backend.put(b"stray", key="stray")
    report = seeded.fsck(repair=True)
    assert [(finding.kind, finding.object.key) for finding in report.findings] == [("untracked object", "stray")]
    assert report.doomed == 1
    assert seeded.sweep() == SweepResult(deleted=1)
    assert seeded.contents() == SEED


def test_untracked_object_is_young(seeded: World) -> None:
    """An object that is younger than the minimum age is left alone: its transaction may be open."""
    seeded.backend.put(b"stray", key="stray")
    config = FsckConfig(repair=True, max_doomed_percent=100, minimum_age_seconds=3600)
    assert fsck(seeded.engine, LEDGER, MAPPERS, [seeded.backend], config).is_clean
    seeded.fsck(repair=True)


def test_staged_object_is_tracked(world: World) -> None:
    """An upload in progress is no finding."""
    with Session(world.engine) as session:
        session.add(Document(file=a_file("new")))
        session.flush()
        session.rollback()
    assert world.fsck(repair=True).is_clean


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite has one writer, and would let fsck wait
def test_object_whose_transaction_is_open(seeded: World) -> None:
    """A tombstone for an object that a transaction enters meanwhile comes too late and does nothing."""
    with Session(seeded.engine) as session:
        # At this level the transaction withdraws the intent and enters the object itself, so that nobody sees it.
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.get_one(Document, 2).file = a_file("new")
        session.flush()

        def commit(_connection: object, _cursor: object, sql: str, parameters: object, *_: object) -> None:
            if sql.startswith("INSERT INTO filestore_object") and "'doomed'" in str(parameters):
                session.commit()

        event.listen(seeded.engine, "before_cursor_execute", commit)
        report = seeded.fsck(repair=True)
    assert report.counts["untracked object"] == 1
    assert report.doomed == 0
    assert seeded.contents()[2] == ("new", ())


def test_row_without_entry(seeded: World) -> None:
    """A row that the ledger does not know is entered, and its object is not taken for a stray one."""
    statement(seeded, "DELETE FROM filestore_object WHERE state = 'linked'")
    report = seeded.fsck(repair=True)
    assert (report.adopted, report.doomed) == (5, 0)
    assert seeded.damage() == []


def test_entry_without_row(seeded: World) -> None:
    """What raw SQL left linked is doomed."""
    statement(seeded, "DELETE FROM document WHERE id = 2")
    report = seeded.fsck(repair=True)
    assert report.counts == {"linked without row": 1}
    assert seeded.sweep() == SweepResult(deleted=1)


def test_entry_without_row_is_young(seeded: World) -> None:
    """An entry that was linked within the minimum age is left alone."""
    statement(seeded, "DELETE FROM document WHERE id = 2")
    config = FsckConfig(repair=True, minimum_age_seconds=60)
    assert fsck(seeded.engine, LEDGER, MAPPERS, [seeded.backend], config).is_clean
    seeded.fsck(repair=True)


def test_missing_object(seeded: World) -> None:
    """A row whose object is gone is reported, and neither row nor entry is touched."""
    key = key_of(seeded, 2)
    seeded.backend.delete(key)
    report = seeded.fsck(repair=True)
    assert [(finding.kind, finding.object) for finding in report.findings] == [
        ("missing object", ObjectKey(BACKEND, key))
    ]
    assert ObjectKey(BACKEND, key) in seeded.snapshot().linked
    with Session(seeded.engine) as session:
        session.delete(session.get_one(Document, 2))
        session.commit()


def test_size_mismatch(seeded: World) -> None:
    """An object that somebody overwrote with another length is reported."""
    key = key_of(seeded, 2)
    seeded.backend.put(b"short", key=key, overwrite=True)
    report = seeded.fsck(repair=True)
    assert report.counts == {"size mismatch": 1}
    assert report.findings[0].detail == "ledger 6000, backend 5 bytes"


def test_object_of_two_rows(seeded: World) -> None:
    """One object in two rows, as raw SQL makes it, is reported."""
    statement(seeded, "UPDATE document SET file = (SELECT file FROM document WHERE id = 1) WHERE id = 3")
    report = seeded.fsck(repair=True)
    assert report.counts == {"object of several rows": 1, "linked without row": 1}
    statement(seeded, "UPDATE document SET file = NULL WHERE id = 3")


def test_row_that_the_ledger_gave_up(seeded: World) -> None:
    """A row whose entry is doomed is reported: its object is gone, or about to go."""
    statement(seeded, "UPDATE filestore_object SET state = 'doomed' WHERE state = 'linked' AND size = 6000")
    report = seeded.fsck(repair=False)
    assert report.findings[0].detail == "the ledger says doomed"
    statement(seeded, "UPDATE filestore_object SET state = 'linked'")


def test_too_many_strays(seeded: World) -> None:
    """More strays than allowed look like a wrong database: nothing is doomed."""
    for number in range(5):
        seeded.backend.put(b"stray", key=f"stray/{number}")
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG, max_doomed_percent=49)
    with pytest.raises(LedgerError, match=r"5 of 10 objects .*50 %, allowed 49 %.*right database"):
        fsck(seeded.engine, LEDGER, MAPPERS, [seeded.backend], config)
    assert len(seeded.objects()) == 10
    assert len(seeded.snapshot().states) == 5
    seeded.fsck(repair=True)


def test_class_that_was_left_out(seeded: World) -> None:
    """Entries without rows count as well: a class that somebody forgot to name does not lose its files."""
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG)
    with pytest.raises(LedgerError, match=r"5 of 5 objects .*classes"):
        fsck(seeded.engine, LEDGER, [], [seeded.backend], config)
    seeded.recover()
    assert seeded.contents() == SEED


def test_nothing_is_mended_before_it_is_refused(seeded: World) -> None:
    """What is too much altogether changes nothing at all, neither rows to adopt nor entries to doom."""
    statement(seeded, "DELETE FROM filestore_object WHERE size = 6000 AND state = 'linked'")
    before = seeded.snapshot().states
    statement(seeded, "DELETE FROM document WHERE id = 3")
    seeded.backend.put(b"stray", key="stray")
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG, max_doomed_percent=30)
    with pytest.raises(LedgerError, match="2 of 6 objects"):
        fsck(seeded.engine, LEDGER, [sa.inspect(Document)], [seeded.backend], config)
    assert seeded.snapshot().states == before
    seeded.fsck(repair=True)


def test_backend_of_another_database(seeded: World, tmp_path: Path) -> None:
    """A backend that another database has marked as its own is refused, repair or not."""
    seeded.fsck(repair=True)
    other = World(sa.create_engine(f"sqlite:///{tmp_path}/other.db"), seeded.root)
    other.create()
    for repair in (False, True):
        with pytest.raises(LedgerError, match="belongs to another database"):
            other.fsck(repair=repair)
    assert len(seeded.objects()) == 5
    other.engine.dispose()


def test_parts_of_an_unfinished_object(world: World) -> None:
    """Parts that are objects belong to the key that they are parts of, as long as that one is staged."""
    part = f"whole.parts/{'0' * 32}/1.{'f' * 16}"
    world.backend.put(b"part", key=part)
    with world.engine.begin() as connection:
        Ledger(LEDGER).insert(connection, {ObjectKey(world.backend.key, "whole"): None}, State.STAGED)
    assert world.fsck(repair=True).is_clean
    with world.engine.begin() as connection:
        Ledger(LEDGER).change(connection, [ObjectKey(world.backend.key, "whole")], State.STAGED, State.GONE)
    report = world.fsck(repair=True)
    assert [(finding.kind, finding.object.key) for finding in report.findings] == [("untracked object", part)]


def test_mark_survives_cleaning(seeded: World, tmp_path: Path) -> None:
    """Cleaning up unfinished writes leaves the mark, however old it is."""
    seeded.fsck(repair=True)
    (seeded.root / ".filestore" / ("0" * 32)).write_bytes(b"unfinished")
    assert seeded.backend.clean(older_than=0) == 1
    other = World(sa.create_engine(f"sqlite:///{tmp_path}/other.db"), seeded.root)
    other.create()
    with pytest.raises(LedgerError, match="another database"):
        other.fsck(repair=True)
    other.engine.dispose()


def test_mark_is_no_object(seeded: World) -> None:
    """The mark is not listed, with a prefix neither."""
    backend = LocalBackend("prefixed", seeded.root, prefix="below", fsync=False)
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG)
    for _ in range(2):
        report = fsck(seeded.engine, LEDGER, MAPPERS, [backend], config)
        assert report == FsckReport(elsewhere=report.elsewhere)
    assert (seeded.root / "below" / ".filestore" / "database").exists()
    (seeded.root / "below" / ".filestore" / "database").unlink()


def test_entries_of_other_backends(seeded: World) -> None:
    """Entries and rows of backends that are not listed are not looked at, and their files are counted."""
    backend = LocalBackend("other", seeded.root / "other", fsync=False)
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG)
    report = fsck(seeded.engine, LEDGER, MAPPERS, [backend], config)
    assert report.elsewhere.keys() == {"ledger"}
    assert report == FsckReport(elsewhere=report.elsewhere)
    assert seeded.snapshot().linked == set(seeded.snapshot().rows)
    (seeded.root / "other" / ".filestore" / "database").unlink()


def test_findings_are_limited(seeded: World) -> None:
    """All findings are counted and mended, the first ones kept."""
    for number in range(3):
        seeded.backend.put(b"stray", key=f"stray/{number}")
    config = FsckConfig(repair=True, minimum_age_seconds=-LONG, max_doomed_percent=100, max_findings=1)
    report = fsck(seeded.engine, LEDGER, MAPPERS, [seeded.backend], config)
    assert (len(report.findings), report.counts["untracked object"], report.doomed) == (1, 3, 3)
