"""Objects that several rows hold, as Advanced Alchemy makes them of equal file names, end with the last of the rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import FileObjectList
from litestar_filestore.errors import ConflictError, LedgerError
from litestar_filestore.ledger.adopt import adopt
from litestar_filestore.ledger.fsck import FsckConfig, fsck
from tests.ledger.async_world import HALVES
from tests.ledger.models import Document, a_file, content_of
from tests.ledger.world import LEDGER, SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAPPERS = [sa.inspect(Document)]
COPIES = (
    "UPDATE document SET file = (SELECT file FROM (SELECT * FROM document) AS d WHERE d.id = 1) WHERE id IN (2, 3)",
    "UPDATE document SET pages = (SELECT pages FROM (SELECT * FROM document) AS d WHERE d.id = 1) WHERE id = 2",
)
OLD_ROW = (
    "INSERT INTO document (id, file) "
    """VALUES (4, '{"filename": "old.txt", "to_filename": "2020/old.txt", "backend": "ledger"}')"""
)


@pytest.fixture
def old(seeded: World) -> Iterator[World]:
    """Rows from before the ledger: three hold one file, and two the same list of pages."""
    execute(seeded, "DELETE FROM filestore_object", *COPIES)
    seeded.backend.delete([key.key for key in seeded.objects() - set(seeded.snapshot().rows)])
    yield seeded
    seeded.register()
    seeded.recover()
    assert seeded.damage() == []
    seeded.fsck(repair=True)  # for those that no row holds any more


@pytest.fixture
def shared(old: World) -> World:
    """The same rows, adopted."""
    adopt(old.engine, LEDGER, MAPPERS)
    return old


def execute(world: World, *statements: str) -> None:
    """Do something that the session events cannot see."""
    with world.engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def states(world: World) -> list[str]:
    """Return the states of the entries, sorted."""
    return sorted(world.snapshot().states.values())


def commit(world: World, work: Callable[[Session], object]) -> None:
    """Do something in a session and commit it."""

    def run(session: Session) -> None:
        work(session)
        session.commit()

    world.run(run)


def delete(*numbers: int) -> Callable[[Session], object]:
    """Return what deletes rows."""

    def work(session: Session) -> None:
        for number in numbers:
            session.delete(session.get_one(Document, number))

    return work


def replace(session: Session) -> None:
    """Give a row another file and other pages."""
    row = session.get_one(Document, 1)
    row.file, row.pages = a_file("new"), FileObjectList([a_file("fresh")])


def clear(session: Session) -> None:
    """Take the files out of a row."""
    row = session.get_one(Document, 1)
    row.file = row.pages = None


def take_one_page(session: Session) -> None:
    """Take one of the shared pages out of a list, and the file."""
    row = session.get_one(Document, 1)
    assert row.pages is not None
    del row.pages[0]
    row.file = None


def bulk_delete(session: Session) -> None:
    """Delete a row by a statement."""
    session.execute(sa.delete(Document).where(Document.id == 1))


def bulk_update(session: Session) -> None:
    """Clear a row by a statement."""
    session.execute(sa.update(Document).where(Document.id == 1).values(file=None, pages=None))


def test_shared_objects_are_named(old: World) -> None:
    """``adopt`` says which rows hold an object, and how many."""
    adoption = adopt(old.engine, LEDGER, MAPPERS)
    assert (adoption.adopted, adoption.known, adoption.shared_count) == (3, 0, 3)
    places = sorted((each.holders, each.places) for each in adoption.shared)
    assert places == [
        (2, ("Document(1).pages", "Document(2).pages")),
        (2, ("Document(1).pages", "Document(2).pages")),
        (3, ("Document(1).file", "Document(2).file", "Document(3).file")),
    ]
    assert adopt(old.engine, LEDGER, MAPPERS) == adoption._replace(adopted=0, known=3)


def test_entries_of_an_earlier_adoption(old: World) -> None:
    """What was entered for one of its rows is entered as shared by another run."""
    adopt(old.engine, LEDGER, MAPPERS)
    execute(old, "UPDATE filestore_object SET state = 'linked'")
    assert adopt(old.engine, LEDGER, MAPPERS).shared_count == 3
    assert states(old) == ["shared"] * 3


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("work", [delete(1), replace, clear, take_one_page, bulk_delete, bulk_update])
def test_end_of_one_row(shared: World, work: Callable[[Session], object]) -> None:
    """Whatever one row does, the others keep their bytes."""
    commit(shared, work)
    shared.recover()
    assert shared.damage() == []
    contents = shared.contents()
    assert (contents[2], contents[3]) == (("one", ("page", "side")), ("one", ()))


def test_end_of_several_rows_at_once(shared: World) -> None:
    """Two of three rows end in one transaction."""
    commit(shared, delete(1, 2))
    shared.recover()
    assert shared.contents() == {3: ("one", ())}


def test_last_row(shared: World) -> None:
    """An object goes to the last row that holds it by ``fsck``, and then ends with it."""
    commit(shared, delete(1))
    report = shared.fsck(repair=True)
    assert (report.counts, report.unshared, report.doomed) == ({"shared object of one row or none": 2}, 2, 0)
    assert states(shared) == ["linked", "linked", "shared"]
    commit(shared, delete(2))
    assert states(shared) == ["doomed", "doomed", "shared"]
    shared.recover()
    assert shared.fsck(repair=True).unshared == 1
    commit(shared, delete(3))
    shared.recover()
    assert shared.objects() == set()


def test_no_row_is_left(shared: World) -> None:
    """Bytes do not stay when the last rows have gone: fsck dooms them, as far as the allowed share goes."""
    commit(shared, delete(1, 2, 3))
    shared.recover()
    assert len(shared.objects()) == 3
    with pytest.raises(LedgerError, match="3 of 3"):
        fsck(shared.engine, LEDGER, MAPPERS, [shared.backend], FsckConfig(repair=True, minimum_age_seconds=-10))
    assert shared.fsck(repair=True).doomed == 3
    shared.recover()
    assert shared.objects() == set()


def test_fsck_of_shared_objects(shared: World) -> None:
    """Objects that the ledger knows as shared are nothing to complain of."""
    report = shared.fsck(repair=True)
    assert report.is_clean
    assert (report.entries, report.row_files) == (3, 7)


def test_fsck_adopts_shared_objects(old: World) -> None:
    """They are entered by ``fsck`` as by ``adopt``."""
    report = old.fsck(repair=True)
    assert report.counts == {"row without ledger": 3, "object of several rows": 3}
    assert report.adopted == 3
    assert states(old) == ["shared"] * 3


def test_missing_shared_object(shared: World) -> None:
    """A shared object has to be there like any other."""
    lost = shared.snapshot().rows[0]
    content = b"".join(shared.backend.get(lost.key))
    shared.backend.delete(lost.key)
    assert shared.fsck(repair=False).counts == {"missing object": 1}
    shared.backend.put(content, key=lost.key)


@pytest.mark.parametrize("half", HALVES)
def test_copies(shared: World) -> None:
    """Each row gets a file of its own by a copy, and nothing is left over."""

    def copy(session: Session) -> None:
        for number in (2, 3):
            row = session.get_one(Document, number)
            assert row.file is not None
            row.file = a_file("one")
        row = session.get_one(Document, 2)
        row.pages = FileObjectList([a_file("page"), a_file("side")])

    commit(shared, copy)
    assert shared.fsck(repair=True).unshared == 3
    assert shared.fsck(repair=False).is_clean
    assert set(states(shared)) == {"linked"}
    assert shared.contents() == {1: SEED[1], 2: ("one", ("page", "side")), 3: ("one", ())}


def test_no_further_row(shared: World) -> None:
    """A row that does not hold a shared object yet is refused, so that their number can only fall."""

    def take(session: Session) -> None:
        session.add(Document(id=4, file=session.get_one(Document, 1).file))

    with pytest.raises(ConflictError, match="copy"):
        commit(shared, take)


def test_object_that_changes_rows(shared: World) -> None:
    """A shared object may move from one row to another in one transaction."""

    def move(session: Session) -> None:
        first = session.get_one(Document, 1)
        session.add(Document(id=4, file=first.file))
        first.file = None

    commit(shared, move)
    assert states(shared) == ["shared"] * 3
    assert shared.contents()[4] == ("one", ())


def test_two_places_of_one_row(seeded: World) -> None:
    """One row may hold an object in two columns; clearing one of them leaves the other its bytes."""
    array = {"sqlite": "json_array(json(file))", "postgresql": "jsonb_build_array(file)"}
    build = array.get(seeded.engine.dialect.name, "JSON_ARRAY(JSON_EXTRACT(file, '$'))")
    execute(seeded, f"UPDATE document SET pages = {build} WHERE id = 1")  # noqa: S608
    execute(seeded, "DELETE FROM filestore_object")
    seeded.backend.delete([key.key for key in seeded.objects() - set(seeded.snapshot().rows)])
    adoption = adopt(seeded.engine, LEDGER, MAPPERS)
    assert [each.places for each in adoption.shared] == [("Document(1).file", "Document(1).pages")]

    def clear_file(session: Session) -> None:
        session.get_one(Document, 1).file = None

    commit(seeded, clear_file)
    seeded.recover()
    assert seeded.contents()[1] == (None, ("one",))
    assert seeded.fsck(repair=True).unshared == 1
    commit(seeded, delete(1))
    seeded.recover()
    assert seeded.leftovers() == []


def add_old_row(world: World) -> None:
    """Add a row with a file as another program writes it, which knows nothing of a ledger."""
    world.backend.put(content_of("old"), key="2020/old.txt")
    execute(world, OLD_ROW)


@pytest.mark.parametrize("half", HALVES)
def test_row_takes_an_unknown_object(seeded: World) -> None:
    """What a row takes that the ledger does not know may be another old row's, which can end without harm."""
    add_old_row(seeded)

    def take(session: Session) -> None:
        session.add(Document(id=5, file=session.get_one(Document, 4).file))

    commit(seeded, take)
    commit(seeded, delete(4))
    seeded.recover()
    assert seeded.contents()[5] == ("old", ())
    seeded.fsck(repair=True)
    commit(seeded, delete(5))
    seeded.recover()
    assert seeded.leftovers() == []


# A writer of SQLite lets nobody else write.
@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_adoption_meets_a_row_that_is_being_written(seeded: World) -> None:
    """A row that takes an object while ``adopt`` enters it keeps its bytes when the other row ends."""
    add_old_row(seeded)
    inserting = Event()

    def look(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith("INSERT INTO filestore_object") and current_thread() is not main_thread():
            inserting.set()

    with ThreadPoolExecutor(1) as pool, Session(seeded.engine) as session:
        session.add(Document(id=5, file=session.get_one(Document, 4).file))
        session.flush()
        event.listen(seeded.engine, "before_cursor_execute", look)
        adoption = pool.submit(adopt, seeded.engine, LEDGER, MAPPERS)
        assert inserting.wait(30)
        session.commit()
        assert adoption.result(30).known == 6
    commit(seeded, delete(4))
    seeded.recover()
    assert seeded.contents()[5] == ("old", ())
    seeded.fsck(repair=True)
