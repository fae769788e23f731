"""Handlers whose annotations are strings find the names of this package without importing them at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import get

from tests.plugin.conftest import Serve

if TYPE_CHECKING:
    from litestar_filestore import FileObject, FileObjectList, Storages


@get("/file")
async def read(storages: Storages) -> FileObject | FileObjectList | list[str] | None:
    """Return the keys of the backends."""
    return storages.registered_backends()


def test_get_resolves_names_that_are_imported_for_type_checkers_only(serve: Serve) -> None:
    """The signature namespace of the application holds what handlers write in annotations."""
    assert serve([read]).get("/file").json() == ["documents"]
