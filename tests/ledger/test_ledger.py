"""What the ledger says about objects, and what a caller is told when rows and objects would come apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, FileObjectList, StorageBackend, storages
from litestar_filestore.errors import (
    BackendUnavailableError,
    ConflictError,
    LedgerMissingError,
    LinkLostError,
    ObjectExistsError,
)
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Ledger, Usage
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Document, a_file, content_of
from tests.ledger.world import LEDGER, SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable


def once_at(point: str, action: Callable[[], object]) -> None:
    """Do something when a point is reached for the first time."""

    def reach(name: str) -> None:
        if name == point:
            on_point(None)
            action()

    on_point(reach)


def test_entry_is_complete(world: World) -> None:
    """The entry of a linked object knows its size and digest, and when it was made."""
    with Session(world.engine) as session:
        session.add(Document(file=a_file("new")))
        session.commit()
        file = session.scalars(sa.select(Document.file)).one()
    with world.engine.connect() as connection:
        entry = connection.execute(sa.select(LEDGER)).one()
    assert file is not None
    assert (entry.backend, entry.key, entry.state) == (BACKEND, file.path, State.LINKED)
    assert (entry.size, entry.checksum) == (len(content_of("new")), file.checksum)
    assert entry.checksum is not None
    assert entry.attempts == 0


def test_each_object_keeps_its_own_facts(world: World) -> None:
    """Objects that are linked by one statement do not mix up their sizes."""
    with Session(world.engine) as session:
        session.add(Document(pages=[a_file(tag) for tag in ("a", "bb", "ccc")]))
        session.commit()
    with world.engine.connect() as connection:
        sizes = connection.scalars(sa.select(LEDGER.c.size)).all()
    assert sorted(sizes) == [len(content_of(tag)) for tag in ("a", "bb", "ccc")]


def test_usage_counts_what_an_owner_holds(world: World) -> None:
    """What is in the store counts for the owner that was set when it was stored, others' objects do not."""
    token = owner_of_new_objects.set("alice")
    try:
        with Session(world.engine) as session:
            session.add(Document(id=1, file=a_file("one"), pages=[a_file("two")]))
            session.commit()
    finally:
        owner_of_new_objects.reset(token)
    with Session(world.engine) as session:
        session.add(Document(id=2, file=a_file("other")))
        session.commit()
    with Session(world.engine) as session:
        session.get_one(Document, 1).file = None
        session.commit()
    size = len(content_of("two"))
    with world.engine.connect() as connection:
        assert Ledger(LEDGER).usage(connection, "alice") == Usage(2, 2 * size, 1, size)
    assert world.sweep().deleted == 1
    with world.engine.connect() as connection:
        assert Ledger(LEDGER).usage(connection, "alice") == Usage(1, size)


@pytest.mark.parametrize("after_effect", [False, True])
def test_storage_failure_fails_the_transaction(seeded: World, after_effect: bool) -> None:  # noqa: FBT001
    """A put that fails is raised by the flush, and nothing of the transaction is committed."""
    fault = Fault("put", BackendUnavailableError("down"), after_effect=after_effect)
    storages.register_backend(StorageBackend(BACKEND, driver=FaultyDriver(seeded.backend.storage_driver, [fault])))
    with Session(seeded.engine) as session:
        session.get_one(Document, 2).name = "changed"
        session.get_one(Document, 1).file = a_file("new")
        with pytest.raises(BackendUnavailableError, match="down"):
            session.commit()
    seeded.register()
    assert seeded.contents() == SEED
    with Session(seeded.engine) as session:
        assert session.get_one(Document, 2).name is None


def test_link_lost_between_put_and_link(seeded: World) -> None:
    """A sweeper that gives up an upload too early costs the transaction, never the row its bytes."""
    config = SweepConfig(staged_grace_seconds=-LEASE_SECONDS)
    once_at("put.after", lambda: seeded.sweep(config))
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = a_file("new")
        with pytest.raises(LinkLostError, match="store the content again"):
            session.commit()
    assert seeded.contents() == SEED


def test_link_lost_between_two_transactions(seeded: World) -> None:
    """A file whose first transaction was rolled back can be taken by a second one only until it is swept."""
    file = a_file("new")
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = file
        session.flush()
        session.rollback()
    seeded.pass_time()
    seeded.sweep()
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = file
        with pytest.raises(LinkLostError, match="given up"):
            session.commit()
    assert seeded.contents() == SEED


@pytest.mark.parametrize("write_first", [False, True])
def test_key_of_an_unknown_object(seeded: World, write_first: bool) -> None:  # noqa: FBT001
    """A pinned key under which the ledger knows of nothing, but something lies, is refused, and that stays."""
    FileObject(seeded.backend, "theirs.txt", "theirs.txt", content=b"theirs").save()
    with Session(seeded.engine) as session:
        if write_first:
            session.get_one(Document, 2).name = "written"
            session.flush()
        session.get_one(Document, 1).file = FileObject(BACKEND, "mine.txt", "theirs.txt", content=b"mine")
        with pytest.raises(ObjectExistsError):
            session.commit()
    seeded.recover()
    assert seeded.backend.get_content("theirs.txt") == b"theirs"
    seeded.backend.delete("theirs.txt")


def test_rolled_back_file_can_be_taken_again(seeded: World) -> None:
    """A file whose transaction was rolled back keeps its object until the lease ends, for another try."""
    file = a_file("new")
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = file
        session.flush()
        session.rollback()
    with Session(seeded.engine) as session:
        session.get_one(Document, 1).file = file
        session.commit()
    assert seeded.contents() == {**SEED, 1: ("new", ("page", "side"))}


@pytest.mark.parametrize("delete", [False, True])
def test_row_that_vanished(seeded: World, delete: bool) -> None:  # noqa: FBT001
    """Replacing or deleting the file of a row that another transaction deleted is a conflict."""
    with Session(seeded.engine) as session:
        row = session.get_one(Document, 1)
        with Session(seeded.engine) as other:
            other.delete(other.get_one(Document, 1))
            other.commit()
        if delete:
            session.delete(row)
        else:
            row.file = a_file("new")
        with pytest.raises(ConflictError, match="deleted this row meanwhile"):
            session.commit()
    assert 1 not in seeded.contents()


def test_row_that_was_replaced_meanwhile(seeded: World) -> None:
    """A session that has loaded a file that another one replaced may not replace it, and the other's stays."""
    with Session(seeded.engine) as session:
        row = session.get_one(Document, 1)
        with Session(seeded.engine) as other:
            other.get_one(Document, 1).file = a_file("between")
            other.commit()
        row.file = a_file("last")
        with pytest.raises(ConflictError):
            session.commit()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents()[1][0] == "between"


def test_row_that_was_replaced_before_it_was_loaded(seeded: World) -> None:
    """The file that goes is the one that the database holds, where the session has loaded none."""
    with Session(seeded.engine) as session:
        row = session.get_one(Document, 1)
        session.expire(row, ["file"])
        with Session(seeded.engine) as other:
            other.get_one(Document, 1).file = a_file("between")
            other.commit()
        row.file = a_file("last")
        session.commit()
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents()[1][0] == "last"


@pytest.mark.parametrize("attribute", ["file", "pages"])
def test_assignment_that_changes_nothing_dooms_nothing(world: World, attribute: str) -> None:
    """None assigned over a loaded None is not written, so what another transaction stored meanwhile stays."""
    with Session(world.engine) as session:
        session.add(Document(id=1))
        session.commit()
    with Session(world.engine) as session:
        row = session.get_one(Document, 1)
        with Session(world.engine) as other:
            there = other.get_one(Document, 1)
            there.file, there.pages = a_file("new"), FileObjectList([a_file("page")])
            other.commit()
        setattr(row, attribute, None)
        session.commit()
    assert world.damage() == []
    assert world.contents() == {1: ("new", ("page",))}


def test_file_assigned_over_a_row_that_got_one_meanwhile(world: World) -> None:
    """A file in a row that was loaded without one does not take the place of what another one stored meanwhile."""
    with Session(world.engine) as session:
        session.add(Document(id=1))
        session.commit()
    with Session(world.engine) as session:
        row = session.get_one(Document, 1)
        row.file = a_file("last")

        def replace() -> None:
            with Session(world.engine) as other:
                other.get_one(Document, 1).file = a_file("between")
                other.commit()

        once_at("put.after", replace)
        with pytest.raises(ConflictError):
            session.commit()
    assert world.contents() == {1: ("between", ())}


def test_missing_table(world: World) -> None:
    """Without the ledger's table an upload fails before a byte is written, and says what to create."""
    LEDGER.drop(world.engine)
    with Session(world.engine) as session:
        session.add(Document(file=a_file("new")))
        with pytest.raises(LedgerMissingError, match=r"no table 'filestore_object'.*create_all"):
            session.commit()
    assert world.objects() == set()
    LEDGER.create(world.engine)
