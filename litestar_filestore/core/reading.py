"""Reading, looking up and listing objects."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from litestar_filestore.core.keys import RESERVED_SEGMENT, check_prefix, join_prefix
from litestar_filestore.core.setup import BackendSetup
from litestar_filestore.errors import InvalidArgumentError, ObjectNotFoundError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from litestar_filestore.core.types import ObjectInfo

__all__ = ("Reading",)


class Reading(BackendSetup):
    """The part of `StorageBackend` that looks at what is stored."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` (inclusive) to `end` (exclusive) in blocks of at most a few MiB.

        Args:
            key: Which object.
            start: First byte, from 0.
            end: Byte behind the last one; values behind the end of the object mean its end, as does ``None``.

        Raises:
            ObjectNotFoundError: At the first block, also for an empty range.
            RangeNotSatisfiableError: If `start` is not 0 and not below the size of the object.
            ObjectChangedError: If the object was replaced or cut while it was read.
        """
        path = self._check_range(key, start, end)
        with self._guard("get", key):
            if start == end:
                self.storage_driver.head(path)
            else:
                yield from self.storage_driver.get(path, start, end)

    async def get_async(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """`get` without blocking the event loop. Closing the generator frees what it holds."""
        path = self._check_range(key, start, end)
        with self._guard("get", key):
            if start == end:
                await self.storage_driver.head_async(path)
                return
            async with aclosing(self.storage_driver.get_async(path, start, end)) as blocks:
                async for block in blocks:
                    yield block

    def head(self, key: str) -> ObjectInfo:
        """Return what the store knows about an object.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        path = self._path(key)
        with self._guard("head", key):
            return msgspec.structs.replace(self.storage_driver.head(path), key=key)

    async def head_async(self, key: str) -> ObjectInfo:
        """`head` without blocking the event loop."""
        path = self._path(key)
        with self._guard("head", key):
            return msgspec.structs.replace(await self.storage_driver.head_async(path), key=key)

    def exists(self, key: str) -> bool:
        """Return whether there is an object of that key."""
        try:
            self.head(key)
        except ObjectNotFoundError:
            return False
        return True

    async def exists_async(self, key: str) -> bool:
        """`exists` without blocking the event loop."""
        try:
            await self.head_async(key)
        except ObjectNotFoundError:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object below `prefix` (whole segments), in no promised order and with bounded memory."""
        path = join_prefix(self.prefix or "", check_prefix(prefix))
        with self._guard("list", prefix):
            for info in self.storage_driver.list(path):
                if (listed := self._listed(info)) is not None:
                    yield listed

    async def list_async(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        """`list` without blocking the event loop."""
        path = join_prefix(self.prefix or "", check_prefix(prefix))
        with self._guard("list", prefix):
            async with aclosing(self.storage_driver.list_async(path)) as infos:
                async for info in infos:
                    if (listed := self._listed(info)) is not None:
                        yield listed

    def public_url(self, key: str) -> str:
        """Return the unsigned URL of an object below `base_url`, percent-encoded.

        Raises:
            UnsupportedOperationError: If the backend has no `base_url`.
        """
        path = self._path(key)
        if self.base_url is None:
            raise UnsupportedOperationError("This backend has no base_url", operation="url", backend=self.key, key=key)
        return f"{self.base_url}/{quote(path)}"

    def _check_range(self, key: str, start: int, end: int | None) -> str:
        if start < 0 or (end is not None and end < start):
            raise InvalidArgumentError(
                f"The range [{start}, {end}) is not one: 0 <= start <= end", operation="get", backend=self.key, key=key
            )
        return self._path(key)

    def _listed(self, info: ObjectInfo) -> ObjectInfo | None:
        key = info.key[len(self.prefix) + 1 :] if self.prefix else info.key
        if key.split("/", 1)[0] == RESERVED_SEGMENT:
            return None
        return msgspec.structs.replace(info, key=key)
