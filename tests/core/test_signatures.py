"""The two halves: for every method with ``_async`` there is one without, and it takes the same arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.core.advanced_alchemy import LegacyDriver
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.testing.faults import FaultyDriver

CLASSES = (Driver, StorageBackend, FileObject, MemoryDriver, LegacyDriver, FaultyDriver)
WITHOUT_TWIN = {"public_url", "make_key", "local_path", "translate"} | {
    "complete",
    "driven_by",
    "from_dict",
    "linked_facts",
    "pending_content",
    "prepare_key",
    "puts_at_once",
    "replace_content",
    "restore",
    "shown",
    "to_dict",
    "update_metadata",
    "version_at_hand",
}
"""Methods that wait for nothing."""
ONLY_ASYNC = {"begin_parts_async", "put_part_async", "finish_parts_async", "open_version_async"} | {
    "cors_async",
    "list_parts_async",
    "sign_form_async",
    "sign_part_async",
}
"""What only requests and commands do: put objects in parts, open them for an answer, let clients write into the store.

Sweeps give parts up in both halves.
"""


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a class."""
    yield from ((name, each) for name, each in inspect.getmembers(cls, inspect.isroutine) if not name.startswith("_"))


PAIRS = [
    (cls, name) for cls in CLASSES for name, _ in methods(cls) if name.endswith("_async") and name not in ONLY_ASYNC
]


def shape(method: Any) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults of the parameters."""
    parameters = inspect.signature(method).parameters.values()
    # An opened version exists for answers only, so only the async half takes one.
    return [(each.name, each.kind, each.default) for each in parameters if each.name != "version"]


@pytest.mark.parametrize(("cls", "name"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_halves_take_the_same_arguments(cls: type, name: str) -> None:
    """Parameters, their kinds and their defaults are equal in both halves."""
    assert shape(getattr(cls, name)) == shape(getattr(cls, name.removesuffix("_async")))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_method_has_an_async_twin(cls: type) -> None:
    """No operation exists in the sync half only."""
    names = {name for name, _ in methods(cls)}
    sync = {name for name in names if not name.endswith("_async")} - WITHOUT_TWIN
    if cls is FileObject:
        sync.remove("copy")  # it stores nothing
    assert {name for name in sync if f"{name}_async" not in names} == set()


@pytest.mark.parametrize(("cls", "name"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_async_half_is_documented(cls: type, name: str) -> None:
    """Each async method says what it is, if only by its twin's name."""
    assert inspect.getdoc(getattr(cls, name))


@pytest.mark.parametrize("cls", [MemoryDriver, LegacyDriver, FaultyDriver], ids=lambda cls: cls.__name__)
def test_driver_takes_what_the_contract_says(cls: type[Driver]) -> None:
    """The methods of each driver take the arguments of `Driver`."""
    for name, method in methods(Driver):
        assert shape(getattr(cls, name)) == shape(method), name
