"""An adapter that makes backends written for Advanced Alchemy's interface work as drivers.

Such a class derives from `StorageBackend`, overrides ``save_object``, ``get_content``, ``delete_object`` and ``sign``
(each with its ``_async`` twin) and has no driver of its own. The adapter builds the operations of a driver from these
methods, as well as the old interface allows: it holds whole files in memory and cannot list.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.core.driver import Driver
from litestar_filestore.core.types import Capability, ObjectInfo
from litestar_filestore.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence

    from litestar_filestore.core.types import Block, PutOptions, SignMethod

__all__ = ("LegacyDriver", "LegacyFile")


@dataclass(kw_only=True)
class LegacyFile:
    """The file passed to ``save_object`` when content is put by key; it has the fields of a `FileObject`.

    ``save_object`` reads the fields without a default and fills in the others.
    """

    backend: Any
    filename: str
    content_type: str
    metadata: dict[str, Any]
    size: int | None = None
    last_modified: float | None = None
    checksum: str | None = None
    etag: str | None = None
    version_id: str | None = None

    @property
    def path(self) -> str:
        """Key to save under."""
        return self.filename

    @property
    def to_filename(self) -> str:
        """Key to save under."""
        return self.filename

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Merge `metadata` into the user metadata."""
        self.metadata.update(metadata)


class LegacyDriver(Driver):
    """Drives a backend of the old form through its public methods."""

    name: ClassVar[str] = "legacy"

    def __init__(self, backend: Any) -> None:
        """Drive `backend`, a `StorageBackend`; its type is `Any` because its class lives in a layer above."""
        self._backend = backend
        self.protocol = getattr(backend, "protocol", "unknown")
        self.capabilities = Capability.SIGN_GET | Capability.SIGN_PUT  # unknown until asked

    def _file(self, path: str, options: PutOptions | None = None) -> LegacyFile:
        given = options.content_type if options is not None else None
        return LegacyFile(
            backend=self._backend,
            filename=path,
            content_type=given or mimetypes.guess_type(path)[0] or "application/octet-stream",
            metadata=dict(options.metadata) if options is not None else {},
        )

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Hand the joined content to ``save_object``."""
        if not options.overwrite and self._exists(path):
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        content = bytearray()
        for block in blocks:
            content += block
        return _info(path, self._backend.save_object(self._file(path, options), bytes(content)), len(content))

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Hand the joined content to ``save_object_async``."""
        if not options.overwrite and await self._exists_async(path):
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        content = bytearray()
        async for block in blocks:
            content += block
        return _info(
            path, await self._backend.save_object_async(self._file(path, options), bytes(content)), len(content)
        )

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Cut the range out of ``get_content``."""
        if piece := _cut(self._backend.get_content(path), start, end):
            yield piece

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Cut the range out of ``get_content_async``."""
        if piece := _cut(await self._backend.get_content_async(path), start, end):
            yield piece

    def head(self, path: str) -> ObjectInfo:
        """Measure what ``get_content`` returns."""
        return ObjectInfo(key=path, size=len(self._backend.get_content(path)))

    async def head_async(self, path: str) -> ObjectInfo:
        """Measure what ``get_content_async`` returns."""
        return ObjectInfo(key=path, size=len(await self._backend.get_content_async(path)))

    def delete(self, paths: Sequence[str]) -> None:
        """Call ``delete_object`` for each; missing objects are fine."""
        for path in paths:
            try:
                self._backend.delete_object(path)
            except FileNotFoundError:
                continue

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Call ``delete_object_async`` for each; missing objects are fine."""
        for path in paths:
            try:
                await self._backend.delete_object_async(path)
            except FileNotFoundError:
                continue

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Raise: the old interface has no listing."""
        del prefix
        raise UnsupportedOperationError(
            f"{type(self._backend).__name__} cannot list objects: pass a driver to its __init__"
        )

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Raise: the old interface has no listing."""
        for info in self.list(prefix):
            yield info

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Read the object and save it again."""
        if not overwrite and self._exists(target):
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        self._backend.save_object(self._file(target), self._backend.get_content(source))

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Read the object and save it again."""
        if not overwrite and await self._exists_async(target):
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        content = await self._backend.get_content_async(source)
        await self._backend.save_object_async(self._file(target), content)

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Call the old ``sign``."""
        return _first(self._backend.sign(path, expires_in=expires_in, for_upload=method == "PUT"))

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Call the old ``sign_async``."""
        return _first(await self._backend.sign_async(path, expires_in=expires_in, for_upload=method == "PUT"))

    def _exists(self, path: str) -> bool:
        try:
            self._backend.get_content(path)
        except FileNotFoundError:
            return False
        return True

    async def _exists_async(self, path: str) -> bool:
        try:
            await self._backend.get_content_async(path)
        except FileNotFoundError:
            return False
        return True


def _info(path: str, saved: Any, size: int) -> ObjectInfo:
    return ObjectInfo(
        key=path, size=size, etag=saved.etag, last_modified=saved.last_modified, version_id=saved.version_id
    )


def _cut(content: bytes, start: int, end: int | None) -> bytes:
    if start and start >= len(content):
        raise RangeNotSatisfiableError(
            "The range starts behind the end of the object: start before it", size=len(content)
        )
    return content[start:end]


def _first(urls: str | Sequence[str]) -> str:
    if isinstance(urls, str):
        return urls
    if not urls:
        raise ObjectNotFoundError(
            "The backend returned no signed URL: check that the object exists and what the backend's sign() returns"
        )
    return urls[0]
