"""Opening, closing and tidying a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.core.setup import BackendSetup

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("Lifecycle",)


class Lifecycle(BackendSetup):
    """The part of `StorageBackend` that has to do with its life rather than with objects.

    A backend works without being started; `start` only moves the first call's costs, and its errors, to the start of
    the application.
    """

    def start(self) -> None:
        """Make the backend ready.

        Raises:
            StorageError: If the store cannot be used at all.
        """
        with self._guard("start", None):
            self.storage_driver.start()

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        with self._guard("start", None):
            await self.storage_driver.start_async()

    def close(self) -> None:
        """Free connections and descriptors. The backend may be used again afterwards."""
        with self._guard("close", None):
            self.storage_driver.close()

    async def close_async(self) -> None:
        """`close` without blocking the event loop; frees what belongs to the running loop."""
        with self._guard("close", None):
            await self.storage_driver.close_async()

    def clean(self, *, older_than: float = 24 * 3600) -> int:
        """Remove what interrupted puts left behind, invisible but paid for: temporary files, pending multipart uploads.

        Args:
            older_than: Minimum age in seconds; younger ones may still be written.

        Returns:
            How many were removed.
        """
        with self._guard("clean", None):
            return self.storage_driver.clean(older_than)

    async def clean_async(self, *, older_than: float = 24 * 3600) -> int:
        """`clean` without blocking the event loop."""
        with self._guard("clean", None):
            return await self.storage_driver.clean_async(older_than)

    def local_path(self, key: str) -> Path:
        """Return the file that holds an object, where `Capability.LOCAL_PATH` is set. Read only; it may be missing.

        The path is not looked at: a symbolic link in it, which `get` and `head` refuse, would be followed by ``open``.

        Raises:
            UnsupportedOperationError: On stores without local files.
        """
        with self._guard("local_path", key):
            return self.storage_driver.local_path(self._path(key))
