"""Keeping files that no row holds."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from litestar_filestore.core.file_object import FileObject

__all__ = ("Keeper", "Keeping", "keeper")


class Keeper(Protocol):
    """Looks after the files of a request that no row holds."""

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request."""
        ...

    async def discard(self, file: FileObject) -> None:
        """Give up a file that was kept."""
        ...


keeper: ContextVar[Keeper | None] = ContextVar("litestar_filestore_keeper", default=None)
"""Of the request that is being answered."""


class Keeping:
    """The part of `StorageRegistry` that keeps files without a row."""

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds, for instance one whose key the application notes elsewhere.

        What a request has stored and no row has taken is deleted when the request ends, unless it is kept. It is kept
        when this returns, whatever becomes of the request. A row may still take it later.

        Args:
            file: A stored file.

        Raises:
            LinkLostError: If the file was given up already.
            ConfigurationError: Outside of a request to an application with the plugin.
        """
        await _keeper().keep(file)

    async def discard(self, file: FileObject) -> None:
        """Give up a file that was kept; its object is deleted soon. One that a row holds is the row's, and stays.

        Raises:
            ConfigurationError: Outside of a request to an application with the plugin.
        """
        await _keeper().discard(file)


def _keeper() -> Keeper:
    found = keeper.get()
    if found is None:
        raise ConfigurationError("Files are kept and discarded in requests to an application with FilestorePlugin only")
    return found
