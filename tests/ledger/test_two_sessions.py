"""Two sessions change the files of one row: the second one is told, and nobody's file is deleted unseen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError
from tests.ledger.models import Document, a_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.async_world import Half
    from tests.ledger.world import World


@pytest.fixture(params=["sync", "async"])
def half(request: pytest.FixtureRequest) -> Half:
    """Both halves."""
    found: Half = request.param
    return found


def append(row: Document, tag: str) -> None:
    """Append a page."""
    assert row.pages is not None
    row.pages.append(a_file(tag))


def reorder(row: Document) -> None:
    """Turn the pages round."""
    assert row.pages is not None
    row.pages.reverse()


def remove(row: Document, index: int) -> None:
    """Take a page out."""
    assert row.pages is not None
    del row.pages[index]


def assign(row: Document, tag: str) -> None:
    """Assign a longer list."""
    assert row.pages is not None
    row.pages = [*row.pages, a_file(tag)]  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # lists are coerced


def replace(row: Document, tag: str | None) -> None:
    """Replace or clear the file."""
    assert row.file is not None
    row.file = a_file(tag) if tag else None


def describe_file(row: Document) -> None:
    """Change the file in place."""
    assert row.file is not None
    row.file.update_metadata({"described": True})


def describe_page(row: Document) -> None:
    """Change a page in place."""
    assert row.pages is not None
    row.pages[0].update_metadata({"described": True})


LIST_CHANGES = {
    "append": partial(append, tag="second"),
    "reorder": reorder,
    "remove": partial(remove, index=0),
    "assign": partial(assign, tag="second"),
    "describe": describe_page,
}
FILE_CHANGES = {
    "replace": partial(replace, tag="second"),
    "clear": partial(replace, tag=None),
    "describe": describe_file,
}


def in_two_sessions(world: World, first: Callable[[Document], None], second: Callable[[Document], None]) -> None:
    """Let `first` commit between the moment in which the session of `second` has loaded the row and its flush."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        # The transaction ends, so that every database lets the other session write; the row stays as it was loaded.
        session.expunge(row)
        session.rollback()
        session.add(row)
        assert {"file", "pages"} <= inspect(row).dict.keys()
        world_session(world, first)
        second(row)
        session.commit()

    world.run(work)


def world_session(world: World, change: Callable[[Document], None]) -> None:
    """Commit a change in a sync session of its own."""
    with Session(world.engine) as session:
        change(session.get_one(Document, 1))
        session.commit()


def tags(world: World) -> tuple[str | None, tuple[str, ...]]:
    """Return what the row holds."""
    return world.contents()[1]


@pytest.mark.parametrize("change", LIST_CHANGES.values(), ids=LIST_CHANGES)
def test_lists(seeded: World, change: Callable[[Document], None]) -> None:
    """Whatever the second session does to the list, it is told that the first one has appended to it."""
    with pytest.raises(ConflictError, match="'pages'"):
        in_two_sessions(seeded, partial(append, tag="first"), change)
    assert tags(seeded) == ("one", ("page", "side", "first"))


@pytest.mark.parametrize("change", [reorder, partial(remove, index=1)], ids=["reorder", "remove"])
def test_other_changes_of_lists(seeded: World, change: Callable[[Document], None]) -> None:
    """An append is told of whatever the first session did."""
    with pytest.raises(ConflictError, match="'pages'"):
        in_two_sessions(seeded, change, partial(append, tag="second"))
    assert "second" not in tags(seeded)[1]


@pytest.mark.parametrize("change", FILE_CHANGES.values(), ids=FILE_CHANGES)
def test_single_files(seeded: World, change: Callable[[Document], None]) -> None:
    """The second session does not delete the file that the first one has put into the row."""
    with pytest.raises(ConflictError, match="'file'"):
        in_two_sessions(seeded, partial(replace, tag="first"), change)
    assert tags(seeded)[0] == "first"


def test_columns_that_the_second_session_leaves_alone(seeded: World) -> None:
    """What the session does not change is not compared."""
    in_two_sessions(seeded, partial(replace, tag="first"), partial(append, tag="second"))
    assert tags(seeded) == ("first", ("page", "side", "second"))


def test_metadata_of_both(seeded: World) -> None:
    """Metadata are a value like others: the last one who writes them wins."""
    in_two_sessions(seeded, describe_file, describe_file)
    assert tags(seeded)[0] == "one"


def test_expired_attributes(seeded: World) -> None:
    """A session that has not seen a value has nothing to compare, and replaces what is there."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        session.commit()  # expires the row
        world_session(seeded, partial(replace, tag="first"))
        row.file = a_file("second")
        row.pages = [a_file("page")]  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # lists are coerced
        session.commit()

    seeded.run(work)
    assert tags(seeded) == ("second", ("page",))


def test_changes_after_a_flush(seeded: World) -> None:
    """What a session has flushed itself is what it begins from then, also after a savepoint was rolled back."""

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        append(row, "a")
        replace(row, "a")
        session.flush()
        append(row, "b")
        replace(row, "b")
        session.flush()
        savepoint = session.begin_nested()
        append(row, "c")
        replace(row, "c")
        session.flush()
        savepoint.rollback()
        append(row, "d")
        replace(row, "d")
        session.commit()
        append(row, "e")
        session.commit()

    seeded.run(work)
    assert tags(seeded) == ("d", ("page", "side", "a", "b", "d", "e"))


def test_change_in_place_before_an_assignment(seeded: World) -> None:
    """A list that was changed in place and then replaced began with what was loaded."""

    def change(row: Document) -> None:
        append(row, "lost")
        assert row.pages is not None
        row.pages[0].update_metadata({"described": True})
        assign(row, "second")

    world_session(seeded, change)
    assert tags(seeded) == ("one", ("page", "side", "lost", "second"))
    with pytest.raises(ConflictError):
        in_two_sessions(seeded, reorder, change)


def test_metadata_of_an_old_value(seeded: World) -> None:
    """What happens to files that a row does not hold any more says nothing about what it held."""

    def change(row: Document) -> None:
        file = row.file
        assert file is not None
        replace(row, "new")
        file.update_metadata({"old": True})

    world_session(seeded, change)
    assert tags(seeded)[0] == "new"


def test_no_statement_more(seeded: World) -> None:
    """The comparison looks at what the flush reads anyway: one locked SELECT for the row."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    def work(session: Session) -> None:
        row = session.get_one(Document, 1)
        append(row, "a")
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", note)
        session.flush()
        event.remove(engine, "before_cursor_execute", note)
        session.commit()

    seeded.run(work)
    assert sum("SELECT" in each and "document" in each for each in statements) == 1
