"""HTTP servers, which obstore takes for WebDAV (RFC 4918): works around mistakes of obstore 0.12.1 or refuses them."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore import exceptions

from litestar_filestore.backends.obstore.obstore_driver import ObstoreDriver
from litestar_filestore.errors import BucketNotFoundError, ObjectNotFoundError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from obstore import PutResult

    from litestar_filestore.backends.obstore.puts import Pieces
    from litestar_filestore.core.types import ObjectInfo, PutOptions

__all__ = ("ObstoreHttpDriver",)

T = TypeVar("T")

_MISTAKEN = re.compile(r"[?;]")
_RACES = 8


class ObstoreHttpDriver(ObstoreDriver):
    """Files on a WebDAV server, or read-only on another HTTP server that supports ranges.

    There are no multipart uploads and no conditional requests: content is gathered in memory before it is put,
    ``overwrite=False`` looks first, and the server decides whether a put is atomic. `FSSpecBackend` with ``webdav``
    streams instead.
    """

    def _put_whole(self, path: str, pieces: Pieces, options: PutOptions) -> PutResult:
        if not options.overwrite:
            self._refuse_existing(path)
        return _repeated(partial(obstore.put, self.store, path, pieces.blocks, use_multipart=False))

    async def _put_whole_async(self, path: str, pieces: Pieces, options: PutOptions) -> PutResult:
        if not options.overwrite:
            await self._refuse_existing_async(path)
        return await _repeated_async(partial(obstore.put_async, self.store, path, pieces.blocks, use_multipart=False))

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy on the server, if obstore names the target correctly."""
        _check_target(target)
        obstore.head(self.store, source)  # a COPY does not tell a missing source from a missing folder
        _repeated(partial(obstore.copy, self.store, source, target, overwrite=overwrite))

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy on the server, if obstore names the target correctly."""
        _check_target(target)
        await obstore.head_async(self.store, source)
        await _repeated_async(partial(obstore.copy_async, self.store, source, target, overwrite=overwrite))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files only: DELETE on a folder removes everything below it as well (RFC 4918 §9.6.1)."""
        super().delete([path for path in paths if not self._is_folder(path)])

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Delete files only: DELETE on a folder removes everything below it as well (RFC 4918 §9.6.1)."""
        await super().delete_async([path for path in paths if not await self._is_folder_async(path)])

    def head(self, path: str) -> ObjectInfo:
        """Ask for the file without its content."""
        info = super().head(path)
        if _looks_like_folder(info) and self._is_folder(path):
            raise ObjectNotFoundError("There is no such object, but a folder of that name: check the key")
        return info

    async def head_async(self, path: str) -> ObjectInfo:
        """Ask for the file without its content."""
        info = await super().head_async(path)
        if _looks_like_folder(info) and await self._is_folder_async(path):
            raise ObjectNotFoundError("There is no such object, but a folder of that name: check the key")
        return info

    def _is_folder(self, path: str) -> bool:
        try:
            return any(True for _ in self.list(path))
        except exceptions.GenericError as error:
            if not _lacks_folders(error):
                raise
            return False

    async def _is_folder_async(self, path: str) -> bool:
        try:
            async for _ in self.list_async(path):
                return True
        except exceptions.GenericError as error:
            if not _lacks_folders(error):
                raise
        return False


def _looks_like_folder(info: ObjectInfo) -> bool:
    return info.size == 0 and info.etag is None and info.last_modified is None


def _check_target(target: str) -> None:
    if _MISTAKEN.search(target):
        # Measured with wsgidav 4.4: a copy of "x" to "a?b" or "a;b" goes to "a" and replaces what is there.
        raise UnsupportedOperationError(
            "obstore copies on HTTP servers to the wrong place for keys with ? or ;: use other keys"
        )


def _repeated(call: Callable[[], T]) -> T:
    """Repeat a call that failed because another call made the same folder at the same time."""
    for _ in range(_RACES):
        try:
            return call()
        except exceptions.BaseError as error:
            _raise_unless_raced(error)
    return call()


async def _repeated_async(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_RACES):
        try:
            return await call()
        except exceptions.BaseError as error:
            _raise_unless_raced(error)
    return await call()


def _raise_unless_raced(error: exceptions.BaseError) -> None:
    text = str(error)
    if "performing MKCOL" in text and "status code: 405" in text:  # the folder is there already (RFC 4918 §9.3.1)
        return
    if "status code: 409" in text:  # a folder is missing (RFC 4918 §9.7.1) that obstore did not make: its own URL's
        raise BucketNotFoundError("The folder of the backend's URL does not exist on the server: create it") from error
    raise error


def _lacks_folders(error: exceptions.GenericError) -> bool:
    return any(f"status code: {status}" in str(error) for status in (405, 501))
