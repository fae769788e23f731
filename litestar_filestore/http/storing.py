"""What the reading of requests asks of whoever looks after stored objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.types import AsyncDataLike

__all__ = ("Storer",)


class Storer(Protocol):
    """Stores content for rows that come later, or never."""

    async def store(
        self,
        backend: StorageBackend,
        source: AsyncDataLike,
        *,
        filename: str,
        content_type: str | None,
        ext: str = "",
        metadata: Mapping[str, Any] | None = None,
        key_template: str | None = None,
        model: type | None = None,
        key: str | None = None,
        max_concurrency: int | None = None,
    ) -> FileObject:
        """Store content under a new key, or once under a given one.

        After an error or a cancellation nothing stays, or what stays is known and swept.

        Args:
            backend: Where to store.
            source: Content; what it raises comes out unchanged.
            filename: Name for people.
            content_type: Verified media type; ``None`` guesses by `filename`.
            ext: Extension of the verified type with its dot, for the key.
            metadata: User metadata.
            key_template: Where to put it instead of the backend's template.
            model: Mapped class whose row is going to hold it, where that is known: it says in which database.
            key: Where to put it instead of under a new key.
            max_concurrency: Parts in flight; ``None`` lets the driver choose.

        Returns:
            The stored file. It is the caller's, who hands it to a row, keeps it or releases it.

        Raises:
            ObjectExistsError: If `key` is taken.
            StorageError: If it cannot be stored.
        """
        ...

    async def release(self, files: Iterable[FileObject]) -> int:
        """Give up those of `files` that no row has taken and nobody has kept.

        Those in the hands of a transaction that is still open are left alone.

        Returns:
            How many were given up.
        """
        ...

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds; it is kept when this returns, whatever happens then.

        Raises:
            LinkLostError: If it was given up already.
        """
        ...

    async def discard(self, file: FileObject) -> None:
        """Give up a file that was kept. One that a row holds is the row's, and stays."""
        ...
