"""What the reading of requests asks of whoever looks after stored objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import NewFile
    from litestar_filestore.core.types import AsyncDataLike

__all__ = ("Storer",)


class Storer(Protocol):
    """Stores content for rows that come later, or never."""

    async def store(self, backend: StorageBackend, source: AsyncDataLike, new: NewFile) -> FileObject:
        """Store content under a new key, or once under a given one.

        After an error or a cancellation nothing stays, or what stays is known and swept.

        Args:
            backend: Where to store.
            source: Content; what it raises comes out unchanged.
            new: What it becomes.

        Returns:
            The stored file. It is the caller's, who hands it to a row, keeps it or releases it.

        Raises:
            ObjectExistsError: If the key of `new` is taken.
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

    def hand_over(self, file: FileObject) -> None:
        """Leave a file that another request is going to put into a row, or nobody: it is not released.

        What is known of it outlives the process, or is forgotten here.
        """
        ...

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds; it is kept when this returns, whatever happens then.

        Raises:
            LinkLostError: If it was given up already.
        """
        ...

    async def discard(self, file: FileObject) -> bool:
        """Give up a file that was kept. One that a row holds is the row's, and stays.

        Returns:
            Whether it was given up now; ``False`` if somebody else was faster, or it is not one of those that were
            kept. Where nobody keeps account, it is always ``True``.
        """
        ...
