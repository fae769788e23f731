"""An object belongs to one row: it can be given away and copied, but not shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from litestar_filestore import FileObjectList
from litestar_filestore.errors import ConflictError
from tests.ledger.async_world import HALVES
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

pytestmark = pytest.mark.parametrize("half", HALVES)


def test_two_new_rows(world: World) -> None:
    """One file on two rows of one flush is refused, and the message says to copy."""
    file = a_file("new")

    def work(session: Session) -> None:
        session.add_all([Document(file=file), Document(file=file)])
        with pytest.raises(ConflictError, match=r"two rows; assign file\.copy\(\)"):
            session.commit()

    world.run(work)
    assert world.contents() == {}


def test_second_row_later(seeded: World) -> None:
    """A file that a row holds is refused by a second one, and the message says to copy."""

    def work(session: Session) -> None:
        session.add(Document(id=4, file=session.get_one(Document, 1).file))
        with pytest.raises(ConflictError, match=r"another row already; assign file\.copy\(\)"):
            session.commit()

    seeded.run(work)
    assert seeded.contents() == SEED


def test_twice_in_one_list(seeded: World) -> None:
    """One file twice in a list is refused."""
    file = a_file("new")

    def work(session: Session) -> None:
        session.get_one(Document, 2).pages = FileObjectList([file, file])
        with pytest.raises(ConflictError):
            session.commit()

    seeded.run(work)
    assert seeded.contents() == SEED


def test_two_columns_of_one_row(seeded: World) -> None:
    """A file that a list of the row goes on holding is refused by the single column: cleared there, it were lost."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        assert row.pages is not None
        row.file = row.pages[0]
        row.pages.append(a_file("new"))
        with pytest.raises(ConflictError, match=r"two places of a row; assign file\.copy\(\)"):
            session.commit()

    seeded.run(work)
    assert seeded.contents() == SEED


def test_other_column_that_is_not_written(seeded: World) -> None:
    """The same with a list that does not change."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        assert row.pages is not None
        row.file = row.pages[0]
        with pytest.raises(ConflictError):
            session.commit()

    seeded.run(work)
    assert seeded.contents() == SEED


def test_copy(seeded: World) -> None:
    """A copy is an object of its own: it stays when the original goes."""

    def work(session: Session) -> None:
        file = session.get_one(Document, 1).file
        assert file is not None
        session.add(Document(id=4, file=file.copy()))
        session.commit()
        session.delete(session.get_one(Document, 1))
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {2: SEED[2], 3: SEED[3], 4: ("one", ())}


def test_move(seeded: World) -> None:
    """A file taken from one row and given to another in one flush changes hands."""

    def work(session: Session) -> None:
        one, two = session.get_one(Document, 1), session.get_one(Document, 2)
        one.file, two.file = None, one.file
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {**SEED, 1: (None, ("page", "side")), 2: ("one", ())}


def test_move_from_a_deleted_row(seeded: World) -> None:
    """A file outlives its row when another row takes it in the same flush."""

    def work(session: Session) -> None:
        one, two = session.get_one(Document, 1), session.get_one(Document, 2)
        two.file = one.file
        session.delete(one)
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {2: ("one", ()), 3: SEED[3]}


def test_swap(seeded: World) -> None:
    """Two rows swap their files."""

    def work(session: Session) -> None:
        one, two = session.get_one(Document, 1), session.get_one(Document, 2)
        one.file, two.file = two.file, one.file
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {**SEED, 1: ("two", ("page", "side")), 2: ("one", ())}


def test_move_between_columns(seeded: World) -> None:
    """A file moves from the list of a row to its single column."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        assert row.pages is not None
        row.file = row.pages.pop(0)
        session.commit()

    seeded.run(work)
    seeded.recover()
    assert seeded.contents() == {**SEED, 1: ("page", ("side",))}


def test_reordered_list(seeded: World) -> None:
    """Sorting a list neither links nor dooms."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        assert row.pages is not None
        row.pages.reverse()
        session.commit()

    seeded.run(work)
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("one", ("side", "page"))}
