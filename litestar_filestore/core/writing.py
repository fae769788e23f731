"""Putting, deleting and copying objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.core.attributes import check_content_type, portable_metadata
from litestar_filestore.core.meter import Meter
from litestar_filestore.core.setup import BackendSetup
from litestar_filestore.core.sources import AsyncFeed, Feed, source_size
from litestar_filestore.core.types import ObjectInfo, PutOptions
from litestar_filestore.errors import FileTooLargeError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from litestar_filestore.core.types import AsyncSource, Source

__all__ = ("Writing",)


class Writing(BackendSetup):
    """The part of `StorageBackend` that changes what is stored."""

    def put(
        self,
        source: Source,
        *,
        key: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
    ) -> ObjectInfo:
        """Store what `source` yields as one object, atomically and with bounded memory.

        Args:
            source: Bytes, a `pathlib.Path`, a binary file (read from where it stands, not closed) or an iterable of
                bytes. Never a ``str``.
            key: Where to put it; ``None`` makes a new key.
            content_type: Media type for stores that keep one.
            metadata: User metadata for stores that keep it; see `portable_metadata` for what they keep.
            overwrite: Whether an object of that key may be replaced.
            max_bytes: Limit for this object; the backend's `max_bytes` holds beside it.
            part_bytes: Size of the parts of a multipart upload in bytes; ``None`` lets the driver choose.
            max_concurrency: Parts in flight; ``None`` lets the driver choose.

        Returns:
            The stored object with size, etag, checksum and last_modified filled in.

        Raises:
            ObjectExistsError: If the key is taken and `overwrite` is false.
            FileTooLargeError: If the source is longer than the limit.
            SourceTypeError: If bytes cannot be read from `source`.
            Exception: What the source itself raises, unchanged.
            StorageError: If the store fails. After any error the key holds what it held before.
        """
        target, path, meter, options = self._plan_put(
            source,
            key=key,
            content_type=content_type,
            metadata=metadata,
            overwrite=overwrite,
            max_bytes=max_bytes,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        feed = Feed(source, meter)
        with self._guard("put", target, feed):
            return self._stored(target, self.storage_driver.put(path, feed, options), feed, meter)

    async def put_async(
        self,
        source: AsyncSource,
        *,
        key: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
    ) -> ObjectInfo:
        """`put` without blocking the event loop; takes async iterables and async files as well."""
        target, path, meter, options = self._plan_put(
            source,
            key=key,
            content_type=content_type,
            metadata=metadata,
            overwrite=overwrite,
            max_bytes=max_bytes,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        feed = AsyncFeed(source, meter)
        with self._guard("put", target, feed):
            return self._stored(target, await self.storage_driver.put_async(path, feed, options), feed, meter)

    def delete(self, key: str | Sequence[str]) -> None:
        """Delete one object or several; missing ones are fine."""
        keys = [key] if isinstance(key, str) else list(key)
        paths = [self._path(each) for each in keys]
        with self._guard("delete", keys[0] if len(keys) == 1 else None):
            self.storage_driver.delete(paths)

    async def delete_async(self, key: str | Sequence[str]) -> None:
        """`delete` without blocking the event loop."""
        keys = [key] if isinstance(key, str) else list(key)
        paths = [self._path(each) for each in keys]
        with self._guard("delete", keys[0] if len(keys) == 1 else None):
            await self.storage_driver.delete_async(paths)

    def copy(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """Copy an object inside the store and return the key of the copy, a new one if `target` is ``None``.

        Raises:
            ObjectNotFoundError: If there is no object `source`.
            ObjectExistsError: If `target` is taken and `overwrite` is false.
        """
        new = target if target is not None else self.make_key()
        paths = self._path(source), self._path(new)
        with self._guard("copy", source):
            self.storage_driver.copy(*paths, overwrite=overwrite or target is None)
        return new

    async def copy_async(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """`copy` without blocking the event loop."""
        new = target if target is not None else self.make_key()
        paths = self._path(source), self._path(new)
        with self._guard("copy", source):
            await self.storage_driver.copy_async(*paths, overwrite=overwrite or target is None)
        return new

    def _plan_put(
        self,
        source: object,
        *,
        key: str | None,
        content_type: str | None,
        metadata: Mapping[str, Any] | None,
        overwrite: bool,
        max_bytes: int | None,
        part_bytes: int | None,
        max_concurrency: int | None,
    ) -> tuple[str, str, Meter, PutOptions]:
        target = key if key is not None else self.make_key()
        path = self._path(target)
        limit = min((limit for limit in (max_bytes, self.max_bytes) if limit is not None), default=None)
        size = source_size(source)
        if limit is not None and size is not None and size > limit:
            raise FileTooLargeError(
                f"The file is larger than {limit} bytes",
                max_bytes=limit,
                operation="put",
                backend=self.key,
                key=target,
            )
        options = PutOptions(
            content_type=check_content_type(content_type),
            metadata=portable_metadata(metadata or {}),
            # A key made here was never used: looking first, or a conditional write that buffers, would be wasted.
            overwrite=overwrite or key is None,
            size=size,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        return target, path, Meter(digest=self.digest, max_bytes=limit), options

    @staticmethod
    def _stored(key: str, info: ObjectInfo, feed: Feed | AsyncFeed, meter: Meter) -> ObjectInfo:
        if not feed.exhausted:
            raise StorageError("The driver returned before it had read the whole source")
        return msgspec.structs.replace(
            info,
            key=key,
            size=meter.size,
            etag=meter.etag or info.etag,
            checksum=meter.checksum,
            last_modified=info.last_modified if info.last_modified is not None else time.time(),
        )
