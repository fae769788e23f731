"""Objects in the memory of this process: for tests, and for data that may be lost."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.part_objects import unknown_upload
from litestar_filestore.core.types import BLOCK_BYTES, Capability, ObjectInfo, Part, PartLimits
from litestar_filestore.errors import (
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from litestar_filestore.core.types import Block, PutOptions

__all__ = ("MemoryBackend", "MemoryDriver")


class MemoryDriver(Driver):
    """A dictionary of immutable objects. A reader keeps the version that it started with."""

    name: ClassVar[str] = "memory"
    protocol = "memory"
    capabilities = Capability.PUT_IF_ABSENT | Capability.METADATA | Capability.NATIVE_ASYNC | Capability.PARTS
    part_limits = PartLimits()

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._unfinished: dict[tuple[str, str], dict[int, tuple[bytes, Part]]] = {}
        self._lock = threading.Lock()

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Collect the blocks, then publish them at once."""
        content = bytearray()
        for block in blocks:
            content += block
        return self._publish(path, bytes(content), options)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Collect the blocks, then publish them at once."""
        content = bytearray()
        async for block in blocks:
            content += block
        return self._publish(path, bytes(content), options)

    def _publish(self, path: str, content: bytes, options: PutOptions) -> ObjectInfo:
        info = ObjectInfo(
            key=path,
            size=len(content),
            last_modified=time.time(),
            etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            content_type=options.content_type,
            metadata=dict(options.metadata),
        )
        self._store(path, content, info, overwrite=options.overwrite)
        return info

    def _store(self, path: str, content: bytes, info: ObjectInfo, *, overwrite: bool) -> None:
        with self._lock:
            if not overwrite and path in self._objects:
                raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
            self._objects[path] = (content, info)

    def _load(self, path: str) -> tuple[bytes, ObjectInfo]:
        try:
            return self._objects[path]
        except KeyError:
            raise ObjectNotFoundError("There is no such object: check the key and the backend's prefix") from None

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Yield slices of the content."""
        content, info = self._load(path)
        if start and start >= info.size:
            raise RangeNotSatisfiableError(
                "The range starts behind the end of the object: start before it", size=info.size
            )
        stop = info.size if end is None else min(end, info.size)
        for offset in range(start, stop, BLOCK_BYTES):
            yield content[offset : min(offset + BLOCK_BYTES, stop)]

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Yield slices of the content."""
        for block in self.get(path, start, end):
            yield block

    def head(self, path: str) -> ObjectInfo:
        """Return the info kept beside the content."""
        return self._load(path)[1]

    async def head_async(self, path: str) -> ObjectInfo:
        """Return the info kept beside the content."""
        return self._load(path)[1]

    def delete(self, paths: Sequence[str]) -> None:
        """Forget the objects."""
        with self._lock:
            for path in paths:
                self._objects.pop(path, None)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Forget the objects."""
        self.delete(paths)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield a snapshot of the infos, taken when the iteration starts."""
        with self._lock:
            infos = [info for _, info in self._objects.values()]
        for info in infos:
            if not prefix or info.key.startswith(f"{prefix}/"):
                yield info

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Yield a snapshot of the infos, taken when the iteration starts."""
        for info in self.list(prefix):
            yield info

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Let both keys share the immutable content."""
        content, info = self._load(source)
        copied = ObjectInfo(
            key=target,
            size=info.size,
            last_modified=time.time(),
            etag=info.etag,
            content_type=info.content_type,
            metadata=info.metadata,
        )
        self._store(target, content, copied, overwrite=overwrite)

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Let both keys share the immutable content."""
        self.copy(source, target, overwrite=overwrite)

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Make room for the parts."""
        if not options.overwrite and path in self._objects:
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        upload = secrets.token_hex(16)
        self._unfinished[path, upload] = {}
        return upload

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Collect the blocks, then keep them."""
        del size
        content = bytearray()
        async for block in blocks:
            content += block
        part = Part(number, offset, len(content), secrets.token_hex(8))
        self._parts_of(path, upload)[number] = (bytes(content), part)
        return part

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Join the parts, then publish them at once."""
        kept = self._parts_of(path, upload)
        for part in parts:
            if part.number not in kept or kept[part.number][1] != part:
                raise ObjectChangedError(f"Part {part.number} has been replaced, or is not there: put it again")
        info = self._publish(path, b"".join(kept[part.number][0] for part in parts), options)
        self.abandon_parts(path, upload)
        return info

    def abandon_parts(self, path: str, upload: str) -> None:
        """Forget the parts."""
        self._unfinished.pop((path, upload), None)

    def _parts_of(self, path: str, upload: str) -> dict[int, tuple[bytes, Part]]:
        try:
            return self._unfinished[path, upload]
        except KeyError:
            raise unknown_upload() from None


class MemoryBackend(StorageBackend):
    """A backend whose objects live as long as it does. Each instance is a separate store."""

    def __init__(self, key: str, **options: Any) -> None:
        """Make an empty store.

        Args:
            key: Name of the backend.
            **options: See `StorageBackend`.
        """
        super().__init__(key, driver=MemoryDriver(), **options)
