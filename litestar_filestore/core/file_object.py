"""The value of a file column: one file's metadata, and a handle to its content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.core.file_record import FileRecord
from litestar_filestore.core.linking import LinkWish
from litestar_filestore.core.reader import AsyncObjectReader, open_object
from litestar_filestore.core.registry import storages
from litestar_filestore.core.schema import pydantic_core_schema, pydantic_json_schema
from litestar_filestore.core.sources import ObjectCopy, check_source
from litestar_filestore.errors import SourceTypeError, StorageError

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncGenerator, Iterator

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.linking import Disposition
    from litestar_filestore.core.types import AsyncDataLike, DataLike, ObjectInfo

__all__ = ("FileObject",)

_PART_BYTES = 5 * 1024 * 1024


class FileObject(FileRecord):
    """One file in a backend: new content on its way there, or a stored object.

    With `content` or `source_path` it is new: saving it, directly or with the row it is assigned to, gives it a key
    that was never used before. Without, it stands for the object whose key is `to_filename`, else `filename`.

    Two files are equal if backend and key are; a file that has no key yet is equal to itself only. Deliberately a plain
    slotted class: msgspec and pydantic rebuild dataclasses and structs from mappings, and a client's mapping must never
    become a file.
    """

    __slots__ = ()

    def save(
        self,
        data: DataLike | None = None,
        *,
        use_multipart: bool | None = None,
        chunk_size: int = _PART_BYTES,
        max_concurrency: int = 12,
    ) -> FileObject:
        """Store content and complete the metadata. New content gets a new key, also on a file that was stored before.

        While an application with `FilestorePlugin` runs, the object belongs to the request that is being answered, like
        an upload: it is given up with it unless a row takes it or `storages.keep` is called. Outside of a request a row
        has an hour to take it. Both hold for the backends of columns whose database has a ledger.

        Args:
            data: See `StorageBackend.put`; ``None`` takes the pending content.
            use_multipart: Accepted for compatibility; the driver decides by size.
            chunk_size: Size of the parts of a multipart upload in bytes.
            max_concurrency: Parts in flight.

        Returns:
            This file, as the backend returned it.

        Raises:
            SourceTypeError: If there is nothing to save, or only an async source. It is a ``TypeError`` as well.
            ObjectExistsError: If `to_filename` pins a key that is taken.
            ObjectNotFoundError: If the object is gone that was to be copied.
            QuotaExceededError: If the owner of new objects may not store that much.
            StorageError: If the store fails; the file is then as it was before.
        """
        source = cast("DataLike", self._source(data))
        with self._taking_key(), storages.saving(self):
            saved = self._write(
                source, use_multipart=use_multipart, chunk_size=chunk_size, max_concurrency=max_concurrency
            )
        return self._saved(saved)

    async def save_async(
        self,
        data: AsyncDataLike | None = None,
        *,
        use_multipart: bool | None = None,
        chunk_size: int = _PART_BYTES,
        max_concurrency: int = 12,
    ) -> FileObject:
        """`save` without blocking the event loop; takes async sources as well."""
        source = self._source(data)
        with self._taking_key():
            async with storages.saving_async(self):
                saved = await self._write_async(
                    source, use_multipart=use_multipart, chunk_size=chunk_size, max_concurrency=max_concurrency
                )
        return self._saved(saved)

    def put(self, **options: Any) -> FileObject:
        """`save` pending content, for who looks after the object: nobody else is told of it.

        Args:
            **options: Those of `save`.
        """
        source = cast("DataLike", self._source(None))
        with self._taking_key():
            saved = self._write(source, **options)
        return self._saved(saved)

    async def put_async(self, **options: Any) -> FileObject:
        """`put` without blocking the event loop."""
        source = self._source(None)
        with self._taking_key():
            saved = await self._write_async(source, **options)
        return self._saved(saved)

    def _write(self, source: DataLike, **options: Any) -> FileObject:
        if isinstance(source, ObjectCopy) and source.backend is self.backend and self._copy_within(source):
            return self._copied(source, None if _is_known(source) else self.backend.head(self.path))
        return self.backend.save_object(self, source, **options)

    async def _write_async(self, source: AsyncDataLike, **options: Any) -> FileObject:
        if isinstance(source, ObjectCopy) and source.backend is self.backend and await self._copy_within_async(source):
            return self._copied(source, None if _is_known(source) else await self.backend.head_async(self.path))
        return await self.backend.save_object_async(self, source, **options)

    def _copy_within(self, source: ObjectCopy) -> bool:
        """Copy inside the store, and return whether it can do that."""
        try:
            self.backend.copy(source.key, self.path, overwrite=self._fresh)
        except NotImplementedError:
            return False
        return True

    async def _copy_within_async(self, source: ObjectCopy) -> bool:
        try:
            await self.backend.copy_async(source.key, self.path, overwrite=self._fresh)
        except NotImplementedError:
            return False
        return True

    def _copied(self, source: ObjectCopy, info: ObjectInfo | None) -> FileObject:
        # No store says what it has copied. What the origin's row knows of the content holds for the copy as well.
        self.size, self.etag, self.last_modified, self.version_id = source.size, source.etag, time.time(), None
        if info is not None:
            self.complete(info)
        self.checksum = source.checksum
        return self

    def _source(self, data: AsyncDataLike | None) -> AsyncDataLike:
        source = next((each for each in (data, self._content, self._source_path) if each is not None), None)
        if source is None:
            raise SourceTypeError("No data provided and no pending content/path found to save.")
        check_source(source)
        return source

    def _saved(self, saved: FileObject) -> FileObject:
        self._content = self._source_path = None
        self._made_here, self._fresh = self._fresh, False
        return saved

    def get_content(self, *, options: dict[str, Any] | None = None) -> bytes:
        """Return the whole content, held in memory as a whole; `stream` and `open` do not.

        Raises:
            ObjectNotFoundError: If there is no such object.
        """
        backend, key = self._readable
        return backend.get_content(key, options=options)

    async def get_content_async(self, *, options: dict[str, Any] | None = None) -> bytes:
        """`get_content` without blocking the event loop."""
        backend, key = self._readable
        return await backend.get_content_async(key, options=options)

    def stream(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the content from `start` (inclusive) to `end` (exclusive) in blocks; see `StorageBackend.get`."""
        backend, key = self._readable
        return backend.get(key, start, end)

    def stream_async(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """`stream` without blocking the event loop. An async generator; closing it frees what it holds."""
        backend, key = self._readable
        return backend.get_async(key, start, end)

    def open(self) -> io.BufferedReader:
        """Return the content as a seekable binary file; the caller closes it.

        Raises:
            ObjectNotFoundError: If there is no such object.
        """
        return open_object(*self._readable)

    def open_async(self) -> AsyncObjectReader:
        """Return the content as a seekable async file, to be used with ``async with``."""
        return AsyncObjectReader(*self._readable)

    def head(self) -> ObjectInfo:
        """Return what the store knows about the object.

        Raises:
            ObjectNotFoundError: If there is no such object.
        """
        backend, key = self._readable
        return backend.head(key)

    async def head_async(self) -> ObjectInfo:
        """`head` without blocking the event loop."""
        backend, key = self._readable
        return await backend.head_async(key)

    @property
    def _readable(self) -> tuple[StorageBackend, str]:
        """Where the content lies; that of a copy which is still to be made is the origin's."""
        content = cast("object", self._content)
        if isinstance(content, ObjectCopy):
            return content.backend, content.key
        return self.backend, self.path

    def exists(self) -> bool:
        """Return whether the store holds the object; ``False`` for content that was not saved yet."""
        return self._key is not None and self.backend.exists(self._key)

    async def exists_async(self) -> bool:
        """`exists` without blocking the event loop."""
        return self._key is not None and await self.backend.exists_async(self._key)

    @property
    def is_made_here(self) -> bool:
        """Whether this program has stored the object, under a key that was made for it."""
        return self._made_here

    def copy(self, backend: str | StorageBackend | None = None) -> FileObject:
        """Return a new file that is going to get the same content under a key of its own. Nothing is stored yet.

        The session that writes the copy to a row stores it, or `save`: inside the store, and by reading the object
        where that cannot be done, as between two backends. Until then its content is read from this file's object.

        Args:
            backend: Where the copy goes, a backend or its key; ``None`` for the same one.

        Raises:
            SourceTypeError: If this file is still to be saved itself, from content that can be read once only. It is a
                ``TypeError`` as well.
        """
        pending = self.pending_content()
        if not pending.is_replayable:
            raise SourceTypeError("Content that can be read once only makes one file: save it, then copy that")
        twin = FileObject(
            self._backend if backend is None else backend,
            self._filename,
            content_type=self._content_type,
            metadata=self._metadata,
            source_path=pending.source_path,
            content=pending.content if self.has_pending_data else self._as_source(),
        )
        twin.key_template = self.key_template
        twin._know_origin()
        return twin

    def _as_source(self) -> ObjectCopy:
        return ObjectCopy(self._backend, self.path, self.size, self.checksum, self.etag)

    def delete(self) -> None:
        """Delete the object; a missing one is fine. Rows that hold the file are not told: delete or clear those."""
        if self._key is not None:
            self.backend.delete_object(self._key)

    async def delete_async(self) -> None:
        """`delete` without blocking the event loop."""
        if self._key is not None:
            await self.backend.delete_object_async(self._key)

    def sign(self, *, expires_in: int | None = None, for_upload: bool = False) -> str:
        """Return a signed URL: the store's own, or one of the running application where the store cannot sign.

        The store's link says nothing about the headers of the answer, and lets an upload be repeated; see `url`.

        Args:
            expires_in: Life in seconds, 1 to 604,800 (7 days); ``None`` means the backend's `default_expires_in`.
            for_upload: ``False`` for a URL to GET, ``True`` for one to PUT.

        Raises:
            UnsupportedOperationError: If the store cannot sign and no application with a secret runs; it is a
                ``NotImplementedError`` as well.
        """
        try:
            return _single(self.backend.sign(self.path, expires_in=expires_in, for_upload=for_upload))
        except NotImplementedError:
            if (links := storages.link_maker) is None:
                raise
            return links.url_for(self, self._wish(expires_in, for_upload=for_upload))

    async def sign_async(self, *, expires_in: int | None = None, for_upload: bool = False) -> str:
        """`sign` without blocking the event loop."""
        try:
            return _single(await self.backend.sign_async(self.path, expires_in=expires_in, for_upload=for_upload))
        except NotImplementedError:
            if (links := storages.link_maker) is None:
                raise
            return await links.url_for_async(self, self._wish(expires_in, for_upload=for_upload))

    def _wish(self, expires_in: int | None, *, for_upload: bool) -> LinkWish:
        seconds = self.backend.default_expires_in if expires_in is None else expires_in
        return LinkWish(expires_in=seconds, for_upload=for_upload, key=self.path if for_upload else None, native=False)

    def url(
        self,
        *,
        expires_in: int | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """Return a URL to download from, as `storages.url_for` makes it.

        Where no application with a secret runs: a URL below the backend's public `base_url`, else the store's own.

        Args:
            expires_in: Longest life in seconds; ``None`` takes the application's default.
            disposition: ``"inline"`` for what a browser should show; ``None`` is ``"attachment"``.
            filename: Name to save under; ``None`` takes the file's.

        Raises:
            UnsupportedOperationError: If there is neither an application nor a URL of the store.
            ConfigurationError: If headers are asked for and no application with a secret runs.
        """
        if storages.link_maker is not None or disposition is not None or filename is not None:
            return storages.url_for(self, expires_in=expires_in, disposition=disposition, filename=filename)
        return self.backend.public_url(self.path) if self.backend.base_url else self.sign(expires_in=expires_in)

    async def url_async(
        self,
        *,
        expires_in: int | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """`url` without blocking the event loop."""
        if storages.link_maker is not None or disposition is not None or filename is not None:
            return await storages.url_for_async(self, expires_in=expires_in, disposition=disposition, filename=filename)
        if self.backend.base_url:
            return self.backend.public_url(self.path)
        return await self.sign_async(expires_in=expires_in)

    def __copy__(self) -> FileObject:
        """Return another handle to the same file."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> FileObject:
        """Return another handle to the same file: the backend is shared, content that is still to be saved too."""
        twin = FileObject.from_dict(self.to_dict(), self._backend)
        for name in ("_backend", "_content", "_source_path", "_key", "_pinned", "key_template"):
            setattr(twin, name, getattr(self, name))
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by metadata and the backend's key; it must be registered where the file is used again.

        Raises:
            SourceTypeError: If there is content that was not saved yet, other than bytes or a path.
        """
        content = cast("object", self._content)
        if content is not None and not isinstance(content, (bytes, ObjectCopy)):
            raise SourceTypeError(
                "A file whose content is still to be saved can only be pickled if that is bytes, or a copy"
            )
        pending = {
            name: getattr(self, name) for name in ("_content", "_source_path", "_key", "_pinned", "key_template")
        }
        return _unpickle, (self.to_dict(), pending)

    @classmethod
    def __get_pydantic_core_schema__(cls, source_type: Any, handler: Any) -> Any:
        """Accept instances only; write the public form as JSON."""
        return pydantic_core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the public form."""
        return pydantic_json_schema()


def _is_known(source: ObjectCopy) -> bool:
    # Not for rows that Advanced Alchemy wrote.
    return source.size is not None and source.etag is not None


def _single(urls: str | list[str]) -> str:
    if isinstance(urls, str):
        return urls
    if not urls:
        raise StorageError("No signed URL generated", operation="sign")
    return urls[0]


def _unpickle(data: dict[str, Any], pending: dict[str, Any]) -> FileObject:
    file = FileObject.from_dict(data)
    for name, value in pending.items():
        setattr(file, name, value)
    return file
