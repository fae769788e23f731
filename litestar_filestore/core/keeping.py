"""Keeping files that no row holds."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from litestar_filestore.core.file_object import FileObject

__all__ = ("Keeper", "Keeping", "Saver", "keeper")


class Saver(Protocol):
    """Knows of files that the program stores by itself."""

    def knows(self, backend: str) -> bool:
        """Return whether objects in the backend of a key can be known."""
        ...

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file that has its key is stored by hand: it is known before its first byte."""
        ...

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        ...


class Keeper(Saver, Protocol):
    """Looks after files that no row holds: those of a request, or those of an application outside of its requests."""

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request."""
        ...

    async def discard(self, file: FileObject) -> object:
        """Give up a file that was kept."""
        ...


keeper: ContextVar[Keeper | None] = ContextVar("litestar_filestore_keeper", default=None)
"""Of the request that is being answered."""


class Keeping:
    """The part of `StorageRegistry` that looks after files without a row."""

    _keepers: tuple[Keeper, ...] = ()

    @contextmanager
    def kept_by(self, other: Keeper) -> Generator[None]:
        """Let `other` look after what is stored outside of requests, for the time of the context."""
        self._keepers = (*self._keepers, other)
        try:
            yield
        finally:
            kept = list(self._keepers)
            kept.remove(other)
            self._keepers = tuple(kept)

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file is stored by hand; one that does nothing where no application runs."""
        found = self._keeper(file)
        return nullcontext() if found is None else found.saving(file)

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        found = self._keeper(file)
        return nullcontext() if found is None else found.saving_async(file)

    def _keeper(self, file: FileObject) -> Keeper | None:
        """Return who looks after a file: the request that is answered, else the application that started last."""
        found = keeper.get()
        if found is not None:
            return found
        return next((each for each in reversed(self._keepers) if each.knows(file.backend_key)), None)

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds, for instance one whose key the application notes elsewhere.

        What a request has stored and no row has taken is deleted when the request ends, unless it is kept. It is kept
        when this returns, whatever becomes of the request.

        The program can put it into a row later. A client can do so only with a reference that was made for it,
        ``storages.reference_for(file, kept=True)``: the one that the upload was answered with is refused from now on.

        Args:
            file: A stored file.

        Raises:
            LinkLostError: If the file was given up already.
            ConfigurationError: If no application with the plugin runs.
        """
        await self._needed_keeper(file).keep(file)

    async def discard(self, file: FileObject) -> None:
        """Give up a file that was kept; its object is deleted soon. One that a row holds is the row's, and stays.

        Raises:
            ConfigurationError: If no application with the plugin runs.
        """
        await self._needed_keeper(file).discard(file)

    def _needed_keeper(self, file: FileObject) -> Keeper:
        found = self._keeper(file)
        if found is None:
            raise ConfigurationError(
                "Files are kept and discarded in requests to an application with FilestorePlugin, and elsewhere while "
                "one runs"
            )
        return found
