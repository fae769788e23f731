"""Files of lists have ids: what clients call them by, whatever happens to the list around them."""

from __future__ import annotations

import json
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given, seed, settings, strategies as st
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, FileObjectList, MemoryBackend, storages
from litestar_filestore.core.file_ids import is_file_id
from litestar_filestore.core.file_object import sent_file
from litestar_filestore.errors import FileRejectedError
from litestar_filestore.orm.stored_object import TrackedFiles
from tests.orm.models import BACKEND, Base, Document, a_file

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    """An empty database in memory, and a store beside it."""
    storages.register_backend(MemoryBackend(BACKEND))
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()
    storages.unregister_backend(BACKEND)


def ids_of(engine: sa.Engine) -> list[str | None]:
    """Return the ids in the first document's list, as a new session loads them."""
    with Session(engine) as session:
        return [page.id for page in session.get_one(Document, 1).pages or ()]


def test_ids_are_there_at_once_and_tell_nothing() -> None:
    """A file gets its id when it gets into the list, before it has a key."""
    pages = TrackedFiles([a_file(), a_file()])
    assert len({page.id for page in pages}) == 2
    assert all(is_file_id(page.id or "") for page in pages)


def test_ids_stay_when_the_list_changes(engine: sa.Engine) -> None:
    """Adding, removing and moving others, and new content in place, leave an id alone."""
    with Session(engine) as session:
        session.add(document := Document(id=1, pages=[a_file(b"1"), a_file(b"2"), a_file(b"3")]))
        session.commit()
        one, two, three = ids_of(engine)
        assert document.pages is not None
        document.pages.reverse()
        document.pages.append(a_file(b"4"))
        document.pages.pop(1)
        document.pages[0].save(b"new content has a new key")
        session.commit()
    left = ids_of(engine)
    assert (left[:2], two in left, len(left)) == ([three, one], False, 3)


def test_new_file_takes_over_the_id_that_it_is_given(engine: sa.Engine) -> None:
    """What replaces a file may be the same entry to clients, even if the old file comes back beside it."""
    with Session(engine) as session:
        session.add(document := Document(id=1, pages=[a_file(b"1")]))
        session.commit()
        assert document.pages is not None
        old, new = document.pages[0], a_file(b"2")
        new.id = old.id
        document.pages[0] = new
        document.pages.append(old)
        session.commit()
        assert ids_of(engine) == [new.id, old.id]
        assert new.id != old.id


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "assigned"])
def test_id_means_the_file_that_is_loaded(engine: sa.Engine, in_place: bool) -> None:  # noqa: FBT001
    """What was changed in it before a client's list is taken stays changed, and it can be read at once."""
    with Session(engine) as session:
        session.add(document := Document(id=1, pages=[a_file(b"1"), a_file(b"2")]))
        session.commit()
        pages = document.pages
        assert pages is not None
        first = pages[0]
        first.update_metadata({"rotated": 90})
        sent = FileObjectList([a_file(b"3"), sent_file(first.id)])
        if in_place:
            pages[:] = sent
        else:
            document.pages = pages = sent
        assert document.pages is not None
        assert document.pages[1] is first
        session.commit()
        assert document.pages[1].metadata == {"rotated": 90}


def test_two_files_swapped_keep_their_ids() -> None:
    """One file is twice in the list for a moment."""
    pages = TrackedFiles([FileObject(BACKEND, "a"), FileObject(BACKEND, "b")])
    before = [page.id for page in pages]
    pages[0], pages[1] = pages[1], pages[0]
    assert [page.id for page in pages] == before[::-1]


def test_second_handle_in_a_list_gets_its_own_id() -> None:
    """The file that was there before keeps its id, wherever the other one is put."""
    pages = TrackedFiles([FileObject(BACKEND, "a")])
    kept = pages[0].id
    pages.insert(0, copy(pages[0]))
    assert pages[1].id == kept != pages[0].id


def test_rows_without_ids_have_stable_ones(engine: sa.Engine) -> None:
    """Rows of Advanced Alchemy may even hold one file twice; the ids are the same before and after they are written."""
    rows = [{"filename": name, "backend": BACKEND} for name in ("a.txt", "b.txt", "a.txt")]
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO document (id, pages) VALUES (1, :rows)"), {"rows": json.dumps(rows)})
    first = ids_of(engine)
    assert (len({*first}), ids_of(engine)) == (3, first)
    with Session(engine) as session, session.begin():
        pages = (document := session.get_one(Document, 1)).pages or FileObjectList()
        pages.append(a_file())
        assert document.pages is pages
    assert ids_of(engine)[:3] == first


def test_single_file_has_no_id(engine: sa.Engine) -> None:
    """Also one that comes from a list: its row does not keep the id."""
    with Session(engine) as session:
        session.add(document := Document(id=1, pages=[a_file()]))
        session.commit()
        assert document.pages is not None
        document.file = moved = document.pages.pop()
        assert moved.id is None
        session.commit()
        assert '"id"' not in session.scalars(sa.text("SELECT file FROM document")).one()


@pytest.mark.parametrize("sent", ["id", "mapping", "replacement"])
def test_single_column_refuses_an_id(sent: str) -> None:
    """An id says something to a list only."""
    names: dict[str, Any] = {"id": "a" * 16, "mapping": {"id": "a" * 16}}
    names["replacement"] = {"id": "a" * 16, "file": FileObject(BACKEND, "a")}
    with pytest.raises(FileRejectedError):
        Document(file=sent_file(names[sent]))


@pytest.mark.parametrize("use", ["filename", "path", "size", "backend", "metadata", "content_type", "to_dict"])
def test_id_alone_gives_nothing_to_read(use: str) -> None:
    """Whoever sends an id learns nothing by it, not even whether it exists."""
    kept = sent_file("a" * 16)
    with pytest.raises(FileRejectedError):
        _ = getattr(kept, use)() if use == "to_dict" else getattr(kept, use)
    assert (kept == copy(kept), kept == sent_file("a" * 16), kept == FileObject(BACKEND, "a")) == (True, False, False)


@pytest.mark.parametrize(
    "sent",
    [
        {"filename": "a", "backend": BACKEND},
        {"id": "a"},
        {"id": ["a" * 16]},
        {"id": "a" * 16, "file": "b" * 16},
        {"id": "a" * 16, "file": {"id": "a" * 16}},
        {"id": "a" * 16, "file": 7},
        {"file": FileObject(BACKEND, "a")},
        ["a" * 16],
        None,
        "A" * 16,
    ],
)
def test_anything_else_names_no_file(sent: object) -> None:
    """A mapping is a file of a list only by an id, and its other members are not read."""
    with pytest.raises(ValueError, match="expected an uploaded file"):
        sent_file(sent)


STEPS = st.lists(
    st.lists(
        st.one_of(
            st.tuples(st.just("keep"), st.integers(0, 5)),
            st.tuples(st.just("replace"), st.integers(0, 5)),
            st.tuples(st.just("new"), st.just(0)),
            st.tuples(st.just("foreign"), st.just(0)),
        ),
        max_size=5,
    ),
    min_size=1,
    max_size=4,
)


@seed(12)
@settings(max_examples=25, deadline=None, database=None)
@given(steps=STEPS, loaded=st.booleans())
def test_lists_of_ids_do_what_a_model_does(steps: list[list[tuple[str, int]]], loaded: bool) -> None:  # noqa: FBT001
    """Whatever clients keep, move, replace, add and leave out, ids and contents are as in a list of pairs.

    A list that names a file twice, or one of another row, is refused and changes nothing.
    """
    backend = MemoryBackend(BACKEND)
    storages.register_backend(backend)
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Document(id=1, pages=[]), Document(id=2, pages=[other := a_file(b"other")])])
    model: list[tuple[str | None, bytes]] = []
    for number, step in enumerate(steps):
        expected: list[tuple[str | None, bytes]] = []
        sent: list[FileObject] = []
        named: list[str | None] = []
        for index, (what, place) in enumerate(step):
            content = f"{number}.{index}".encode()
            if what in {"keep", "replace"} and model:
                file_id, old = model[place % len(model)]
                named.append(file_id)
                file = None if what == "keep" else a_file(content)
                sent.append(sent_file({"id": file_id, "file": file}))
                expected.append((file_id, old if file is None else content))
            elif what == "foreign":
                named += [other.id, other.id]
                sent.append(sent_file(other.id))
            else:
                sent.append(a_file(content))
                expected.append((None, content))
        is_good = len({*named}) == len(named)
        with Session(engine) as session:
            document = session.get_one(Document, 1)
            if not loaded:
                session.expire(document)
            try:
                document.pages = FileObjectList(sent)
                session.commit()
            except FileRejectedError:
                assert not is_good
            else:
                assert is_good
        with Session(engine) as session:
            found = [(page.id, page.get_content()) for page in session.get_one(Document, 1).pages or ()]
        assert len({file_id for file_id, _ in found}) == len(found)
        wanted = expected if is_good else model
        assert [content for _, content in found] == [content for _, content in wanted]
        assert all(file_id in {None, has} for (file_id, _), (has, _) in zip(wanted, found, strict=True))
        model = found
    engine.dispose()
    storages.unregister_backend(BACKEND)
