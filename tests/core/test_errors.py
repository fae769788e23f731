"""The exceptions: their parents, their place, their way through pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from litestar_filestore import errors
from litestar_filestore.errors import ObjectNotFoundError, StorageError

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]


def make(cls: type[StorageError]) -> StorageError:
    """Make an error of any class with its place filled in."""
    more = {"FileTooLargeError": {"max_bytes": 7}, "RangeNotSatisfiableError": {"size": 3}}
    arguments: dict[str, Any] = {"operation": "put", "backend": "documents", "key": "a/b", **more.get(cls.__name__, {})}
    return cls("what happened", **arguments)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_is_a_storage_error(cls: type[Exception]) -> None:
    """One ``except`` catches everything of this package."""
    assert issubclass(cls, StorageError)
    assert cls.__name__ in errors.__all__


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("ConfigurationError", ValueError),
        ("MissingDependencyError", ImportError),
        ("BackendNotRegisteredError", LookupError),
        ("InvalidArgumentError", ValueError),
        ("InvalidKeyError", ValueError),
        ("InvalidTokenError", PermissionError),
        ("RangeNotSatisfiableError", ValueError),
        ("SourceTypeError", TypeError),
        ("FileTooLargeError", ValueError),
        ("ObjectNotFoundError", FileNotFoundError),
        ("ObjectExistsError", FileExistsError),
        ("AccessError", PermissionError),
        ("AuthenticationError", PermissionError),
        ("AccessDeniedError", PermissionError),
        ("BucketNotFoundError", FileNotFoundError),
        ("BackendUnavailableError", ConnectionError),
        ("StorageFullError", OSError),
        ("UnsupportedOperationError", NotImplementedError),
    ],
)
def test_keeps_its_built_in_parent(name: str, parent: type[Exception]) -> None:
    """Code that catches the built-in exception goes on working."""
    assert issubclass(getattr(errors, name), parent)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_message_names_the_place(cls: type[StorageError]) -> None:
    """The text says what happened, where and to which object, whatever the built-in parent makes of it."""
    assert str(make(cls)) == "what happened [operation='put', backend='documents', key='a/b']"


def test_message_without_a_place() -> None:
    """An error outside an operation is just its text."""
    assert str(ObjectNotFoundError("what happened")) == "what happened"


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])  # noqa: S301 - our own
@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_survives_pickle_and_copy(cls: type[StorageError], again: object) -> None:
    """An error that crosses a process keeps class, text, place and its own attributes."""
    error = make(cls)
    assert callable(again)
    twin = again(error)
    assert type(twin) is cls
    assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_every_class_is_in_the_picture() -> None:
    """The tree in the module's docstring shows every class."""
    assert [cls.__name__ for cls in ALL if cls.__name__ not in (errors.__doc__ or "")] == []
