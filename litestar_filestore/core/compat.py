"""The methods of Advanced Alchemy's ``StorageBackend``, on top of the portable operations.

A subclass that overrides them keeps working: `FileObject` saves, loads, deletes and signs through these methods only.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.reading import Reading
from litestar_filestore.core.writing import Writing
from litestar_filestore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.types import AsyncDataLike, DataLike, PathLike, SignMethod

__all__ = ("MAX_EXPIRES_SECONDS", "AdvancedAlchemyMethods")

MAX_EXPIRES_SECONDS = 7 * 24 * 3600
"""Longest life of a signed URL: the limit of S3 and GCS."""
_PART_BYTES = 5 * 1024 * 1024
_CONCURRENCY = 12


class AdvancedAlchemyMethods(Writing, Reading):
    """The part of `StorageBackend` that carries Advanced Alchemy's names and signatures."""

    default_expires_in: int = 3600
    """Life in seconds of a signed URL where the caller names none. Subclasses and instances may set it."""

    @staticmethod
    def _to_path(path: PathLike) -> str:
        return path if isinstance(path, str) else os.fspath(path)

    def get_content(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        """Return a whole object. It is held in memory as a whole; `get` streams instead.

        Args:
            path: Key of the object.
            options: Accepted for compatibility; nothing is read from it.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        del options
        return b"".join(self.get(self._to_path(path)))

    async def get_content_async(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        """`get_content` without blocking the event loop."""
        del options
        return b"".join([block async for block in self.get_async(self._to_path(path))])

    def save_object(
        self,
        file_object: FileObject,
        data: DataLike,
        *,
        use_multipart: bool | None = None,
        chunk_size: int = _PART_BYTES,
        max_concurrency: int = 12,
    ) -> FileObject:
        """Store `data` under the key of `file_object` and complete its metadata.

        Args:
            file_object: Brings key, content type and metadata.
            data: See `put`.
            use_multipart: Accepted for compatibility; the driver decides by size.
            chunk_size: Size of the parts of a multipart upload in bytes.
            max_concurrency: Parts in flight.

        Returns:
            The same `file_object`.

        Raises:
            ObjectExistsError: If the key is taken; new content always has a new key.
        """
        del use_multipart
        info = self.put(data, **_put_arguments(file_object, chunk_size, max_concurrency))
        return file_object.complete(info)

    async def save_object_async(
        self,
        file_object: FileObject,
        data: AsyncDataLike,
        *,
        use_multipart: bool | None = None,
        chunk_size: int = _PART_BYTES,
        max_concurrency: int = 12,
    ) -> FileObject:
        """`save_object` without blocking the event loop; takes async sources as well."""
        del use_multipart
        info = await self.put_async(data, **_put_arguments(file_object, chunk_size, max_concurrency))
        return file_object.complete(info)

    def delete_object(self, paths: PathLike | Sequence[PathLike]) -> None:
        """Delete one object or several; missing ones are fine."""
        self.delete(self._keys(paths))

    async def delete_object_async(self, paths: PathLike | Sequence[PathLike]) -> None:
        """`delete_object` without blocking the event loop."""
        await self.delete_async(self._keys(paths))

    def sign(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        """Return the store's signed URL of an object, or a list of them for a list of keys.

        Args:
            paths: Key or keys.
            expires_in: Life in seconds, 1 to 604,800 (7 days); ``None`` means `default_expires_in`.
            for_upload: ``False`` for a URL to GET, ``True`` for one to PUT.

        Raises:
            UnsupportedOperationError: If this store cannot sign; it is a ``NotImplementedError`` as well.
            InvalidArgumentError: If `expires_in` is out of bounds.
        """
        method, seconds = self._sign_arguments(expires_in, for_upload=for_upload)
        urls: list[str] = []
        for key in self._keys(paths):
            with self._guard("sign", key):
                urls.append(self.storage_driver.sign(self._path(key), method=method, expires_in=seconds))
        return urls[0] if isinstance(paths, (str, os.PathLike)) else urls

    async def sign_async(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        """`sign` without blocking the event loop."""
        method, seconds = self._sign_arguments(expires_in, for_upload=for_upload)
        urls: list[str] = []
        for key in self._keys(paths):
            with self._guard("sign", key):
                urls.append(await self.storage_driver.sign_async(self._path(key), method=method, expires_in=seconds))
        return urls[0] if isinstance(paths, (str, os.PathLike)) else urls

    def _keys(self, paths: PathLike | Sequence[PathLike]) -> list[str]:
        if isinstance(paths, (str, os.PathLike)):
            return [self._to_path(paths)]
        return [self._to_path(path) for path in paths]

    def _sign_arguments(self, expires_in: int | None, *, for_upload: bool) -> tuple[SignMethod, int]:
        seconds = self.default_expires_in if expires_in is None else expires_in
        if not 1 <= seconds <= MAX_EXPIRES_SECONDS:
            raise InvalidArgumentError(
                f"expires_in is 1 to {MAX_EXPIRES_SECONDS} seconds, not {seconds}", operation="sign", backend=self.key
            )
        return ("PUT" if for_upload else "GET"), seconds


def _put_arguments(file_object: FileObject, chunk_size: int, max_concurrency: int) -> dict[str, Any]:
    # Advanced Alchemy's defaults hold 60 MiB in flight for one upload. They mean that nobody chose: the driver does.
    return {
        "key": file_object.path,
        "content_type": file_object.content_type,
        "metadata": file_object.metadata,
        "overwrite": file_object.key_is_new,
        "part_bytes": None if chunk_size == _PART_BYTES else chunk_size,
        "max_concurrency": None if max_concurrency == _CONCURRENCY else max_concurrency,
    }
