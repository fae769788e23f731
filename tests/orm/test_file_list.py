"""The list type by itself: what it accepts, and what it tells."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore import FileObject
from litestar_filestore.errors import SourceTypeError
from litestar_filestore.orm.stored_object import TrackedFiles
from tests.orm.models import BACKEND, Document

if TYPE_CHECKING:
    from collections.abc import Callable


def stored(name: str) -> FileObject:
    """Make a file that stands for an object."""
    return FileObject(BACKEND, name)


@pytest.mark.parametrize(
    "value",
    [
        [stored("a"), stored("b")],
        (stored("a"), stored("b")),
        (file for file in [stored("a"), stored("b")]),
        TrackedFiles([stored("a"), stored("b")]),
    ],
    ids=["list", "tuple", "generator", "TrackedFiles"],
)
def test_assigned_iterable_becomes_a_tracked_list(value: Any) -> None:
    """Whatever holds files can be assigned."""
    pages = Document(pages=value).pages
    assert isinstance(pages, TrackedFiles)
    assert [page.path for page in pages] == ["a", "b"]


def test_assigned_set_becomes_a_tracked_list() -> None:
    """Sets too, as in Advanced Alchemy, in any order."""
    pages = Document(pages={stored("a"), stored("b")}).pages
    assert isinstance(pages, TrackedFiles)
    assert {page.path for page in pages} == {"a", "b"}


def test_one_file_becomes_a_list_of_one() -> None:
    """As in Advanced Alchemy."""
    assert Document(pages=stored("a")).pages == [stored("a")]


def test_none_stays_none() -> None:
    """No list is not the empty list."""
    assert Document(pages=None).pages is None


@pytest.mark.parametrize("value", [["a"], [{"filename": "a"}], {"filename": "a"}, "a", b"b", 1, [None]])
def test_anything_else_is_refused(value: Any) -> None:
    """Nothing but files gets into the list, so nothing a client names becomes one."""
    with pytest.raises(SourceTypeError):
        Document(pages=value)


def test_list_equals_a_plain_one() -> None:
    """It is a list."""
    assert TrackedFiles([stored("a")]) == [stored("a")]


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda pages: pickle.loads(pickle.dumps(pages))])  # noqa: S301
def test_copies_are_lists_of_files(twin: Callable[[TrackedFiles], TrackedFiles]) -> None:
    """Copying and pickling keep type and items."""
    result = twin(TrackedFiles([stored("a"), stored("b")]))
    assert isinstance(result, TrackedFiles)
    assert result == [stored("a"), stored("b")]


def test_list_is_collected_although_its_files_are_held() -> None:
    """A file that is kept does not keep the list that it was in."""
    file = stored("a")
    TrackedFiles([file])
    assert file.on_change is not None
    file.on_change(file)
    assert file.path == "a"
