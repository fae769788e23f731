"""A stored file: `FileObject`, its form for clients, and what it finds in the process that it lives in.

Backends by key, makers of links and keepers of files are put there by `litestar_filestore.core.registry`, which knows
files; so their contracts stand here.
"""

from __future__ import annotations

import enum
import logging
import mimetypes
import time
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast

import msgspec

from litestar_filestore.core.backend import ObjectCopy, find_backend, registered
from litestar_filestore.core.file_ids import is_file_id
from litestar_filestore.core.reader import AsyncObjectReader, open_object
from litestar_filestore.core.sources import check_source
from litestar_filestore.errors import (
    ConfigurationError,
    FileRejectedError,
    InvalidArgumentError,
    InvalidTokenError,
    ObjectNotFoundError,
    SourceTypeError,
    StorageError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Self

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.core.types import AsyncDataLike, DataLike, ObjectInfo, PathLike

__all__ = (
    "ID_IN_METADATA",
    "Answering",
    "Disposition",
    "FileObject",
    "Keeper",
    "KeptFile",
    "LinkMaker",
    "LinkWish",
    "PendingContent",
    "PublicFile",
    "Referred",
    "Saver",
    "Surroundings",
    "answering",
    "public_file",
    "sent_file",
    "surroundings",
)


logger = logging.getLogger("litestar_filestore")


class Referred(enum.StrEnum):
    """The state of a file when a client's reference to it was made."""

    FREE = "free"
    """No row held it. The reference puts it into a row unless the application keeps the file."""
    KEPT = "kept"
    """The reference puts it into a row although the application keeps it."""
    HELD = "held"
    """A row held it."""


class PendingContent(NamedTuple):
    """The content of a file that was not saved yet, for a transaction that rolls back to give it back."""

    content: AsyncDataLike | None
    source_path: Path | None

    @property
    def is_replayable(self) -> bool:
        """Whether it can be read more than once."""
        kinds = (bytes, bytearray, memoryview, Path, list, ObjectCopy)
        return self.content is None or isinstance(self.content, kinds)


class _Consumed:
    """Stands for content that could be read once only, and was, by a transaction that rolled back."""

    def read(self, _size: int = -1, /) -> bytes:
        raise SourceTypeError("The content was read once and its transaction rolled back: assign a new file")


Disposition: TypeAlias = Literal["attachment", "inline"]
"""Whether a browser saves a file or shows it; files that could run a script are saved in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWish:
    """The wishes for a link."""

    expires_in: int | None = None
    """Longest life in seconds; ``None`` takes the application's default."""
    disposition: Disposition | None = None
    """``None`` is ``"attachment"``."""
    filename: str | None = None
    """Name to save under; ``None`` takes the file's."""
    for_upload: bool = False
    """A link to PUT instead of one to GET."""
    key: str | None = None
    """Key of an upload; ``None`` takes the one that the file pins, or makes a new one."""
    max_bytes: int | None = None
    """Largest upload in bytes; ``None`` takes the limit of the backend or of the application."""
    native: bool = True
    """Whether the store's own link may be used if it can carry the other options."""


_PLUGIN = "FilestorePlugin: Litestar(..., plugins=[FilestorePlugin(FilestoreConfig(backends=[...]))])"

ID_IN_METADATA = "litestar-filestore.id"
"""Where a row keeps the id of a file in a list: Advanced Alchemy reads any metadata, but no members of others."""
_FIELDS = ("content_type", "size", "last_modified", "checksum", "etag", "version_id", "metadata")
"""Of a row, beside names and backend."""


class _Stored(type):
    """The type of `FileObject`: it tells who uses one in an application without the plugin what is missing.

    Litestar then says ``Unsupported type``, followed by this. It has no other hook for a type that nobody has told it
    about.
    """

    def __repr__(cls) -> str:
        """Return the usual text and the hint."""
        return f"{super().__repr__()} (Litestar handles files with {_PLUGIN})"


def _check_pinned(to_filename: object) -> None:
    if not isinstance(to_filename, str):
        raise InvalidArgumentError(
            f"The third argument is to_filename, a key, and not the content: it takes text, not "
            f"{type(to_filename).__name__}. Write content= for bytes, source_path= for a local file"
        )


def _decode(type_: Any, value: Any) -> Any:
    """Stand in for the decoder that the plugin brings.

    Litestar puts that one here only for handlers with an argument that is a file; files inside of one come here.
    """
    if answering.get() is None:
        raise ValueError(f"Litestar takes no {type(value).__name__} as a file before it has {_PLUGIN}")
    if not isinstance(file := sent_file(value), type_):
        raise ValueError(_EXPECTED)  # noqa: TRY004  # becomes a validation error
    return file


class FileObject(metaclass=_Stored):
    """One file in a backend: new content on its way there, or a stored object.

    With `content` or `source_path` it is new: saving it, directly or with its row, gives it a key that was never used
    before. Without them, it represents the object whose key is `to_filename`, or else `filename`.

    Two files are equal if their backends and keys are equal; a file that has no key yet is equal only to itself. This
    is deliberately a plain slotted class: msgspec and pydantic rebuild dataclasses and structs from mappings, and a
    client's mapping must never
    become a file.
    """

    # Litestar 2 looks there for the decoder of a type, and puts there the one that the plugin brings.
    _decoder = staticmethod(_decode)

    __slots__ = (
        "__weakref__",
        "_backend",
        "_content",
        "_content_type",
        "_filename",
        "_fresh",
        "_key",
        "_made_here",
        "_metadata",
        "_pinned",
        "_source_path",
        "backend_key",
        "checksum",
        "etag",
        "given_id",
        "id",
        "in_row",
        "key_ext",
        "key_template",
        "last_modified",
        "on_change",
        "passed_rules",
        "referred",
        "size",
        "version_id",
    )

    def __init__(  # noqa: PLR0917  # Advanced Alchemy's signature
        self,
        backend: str | StorageBackend,
        filename: str,
        to_filename: str | None = None,
        content_type: str | None = None,
        size: int | None = None,
        last_modified: float | None = None,
        checksum: str | None = None,
        etag: str | None = None,
        version_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        source_path: PathLike | None = None,
        content: AsyncDataLike | None = None,
    ) -> None:
        """Describe a file; nothing is read, written or looked up.

        Args:
            backend: A backend or its key; a key is looked up in `storages` when it is needed.
            filename: Name for people. Not the key of new content: two uploads of one name are two objects.
            to_filename: Pins the key on purpose. Saving then refuses to overwrite an object that has it.
            content_type: Media type; ``None`` guesses by `filename`.
            size: Length in bytes, if known.
            last_modified: POSIX time in seconds (UTC), if known.
            checksum: ``algorithm:hex``, if known.
            etag: Entity tag with its quotes, if known.
            version_id: Version in a versioned bucket, if known.
            metadata: Anything that JSON can hold; it is kept in the row, and in stores that keep metadata.
            source_path: A local file to store.
            content: Content to store; see `StorageBackend.put`. ``b""`` is an empty file.

        Raises:
            InvalidArgumentError: If `filename` is empty, `to_filename` is no text, `size` is negative, or both
                `content` and `source_path` are given. It is a ``ValueError`` as well.
            SourceTypeError: If `content` is a ``str``.
        """
        if not filename:
            raise InvalidArgumentError("A file needs a filename, for example 'report.pdf'")
        if to_filename is not None:
            _check_pinned(to_filename)
        if size is not None and size < 0:
            raise InvalidArgumentError(f"size must be 0 bytes or more, not {size}")
        if content is not None and source_path is not None:
            raise InvalidArgumentError(
                "Cannot provide both 'content' and 'source_path' during initialization. Pass one of them."
            )
        if content is not None:
            check_source(content)
        self._backend = backend
        self.backend_key: str = backend if isinstance(backend, str) else backend.key
        """Key of the backend, known without a look-up. Read only."""
        self._filename = filename
        self._pinned = to_filename
        self._content = content
        self._source_path = Path(source_path) if source_path is not None else None
        self._key = to_filename or filename if content is None and source_path is None else None
        self._fresh = self._made_here = False
        self._content_type = content_type
        self._metadata: dict[str, Any] = dict(metadata or {})
        self.size = size
        """Length in bytes; ``None`` before saving."""
        self.last_modified: float | None = last_modified
        """POSIX time of the last write in seconds (UTC)."""
        self.checksum = checksum
        """Digest of the content as ``algorithm:hex``."""
        self.etag = etag
        """Entity tag with its quotes: from the content where a digest was computed, else the store's."""
        self.version_id = version_id
        """Version in a versioned bucket."""
        self.key_template: str | None = None
        """Template of the key of new content; ``None`` takes the backend's. A column sets it."""
        self.key_ext = ""
        """Extension, with its dot, of the verified type of new content; for the key."""
        self.passed_rules: tuple[Rule, ...] = ()
        """Rules that have accepted the content already, so that they are not applied again."""
        self.id: str | None = None
        """Names it in its list, for clients; it stays while other files come, go and move. ``None`` outside of lists.
        A new file with the id of the one that it replaces is the same entry of the list to clients."""
        self.given_id: str | None = None
        """The id of the entry of a list that a client wants it to replace; ``None`` for any other file."""
        self.in_row = False
        """Whether it was loaded from a row of the database."""
        self.referred: Referred | None = None
        """The state in the reference that a client has sent; ``None`` for a file that comes from the program itself."""
        self.on_change: Callable[[Any], None] | None = None
        """Called with the file before it changes in place; the row that holds it listens."""

    # -- identity

    @property
    def backend(self) -> StorageBackend:
        """The backend, looked up in `storages` if it was given by key.

        Raises:
            BackendNotRegisteredError: If no backend of that key is registered.
        """
        return find_backend(self._backend) if isinstance(self._backend, str) else self._backend

    @property
    def key(self) -> str | None:
        """Key of the object inside its backend; ``None`` before new content is saved."""
        return self._key

    @property
    def path(self) -> str:
        """Key of the object; before new content is saved, `to_filename` or `filename`."""
        return self._key or self._pinned or self._filename

    @property
    def pinned_key(self) -> str | None:
        """The `to_filename` that this program gave, ``None`` for a file that was loaded."""
        return self._pinned

    @property
    def key_is_new(self) -> bool:
        """Whether the key was made for the content that is being saved, so that no object can have it yet."""
        return self._fresh

    @property
    def filename(self) -> str:
        """Name for people, as the uploader gave it."""
        return self._filename

    @property
    def protocol(self) -> str:
        """Name of the service behind the backend, for example ``"s3"``."""
        return self.backend.protocol

    @property
    def content_type(self) -> str:
        """Media type; guessed by `filename` where none was given, else ``application/octet-stream``."""
        if self._content_type is None:
            self._content_type = mimetypes.guess_type(self._filename)[0] or "application/octet-stream"
        return self._content_type

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        self._changing()
        self._content_type = value

    @property
    def metadata(self) -> dict[str, Any]:
        """User metadata. Change it with `update_metadata` or by assignment, so that the change is tracked."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        self._changing()
        self._metadata = dict(value)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Merge `metadata` into the user metadata."""
        self._changing()
        self._metadata.update(metadata)

    @property
    def has_pending_data(self) -> bool:
        """Whether there is content that has not been saved yet; true for empty content as well."""
        return self._content is not None or self._source_path is not None

    def __eq__(self, other: object) -> bool:
        """Return whether both represent the same object; see the class."""
        if not isinstance(other, FileObject):
            return NotImplemented
        if self._key is None or other._key is None:
            return self is other
        return (self.backend_key, self._key) == (other.backend_key, other._key)

    def __hash__(self) -> int:
        """Hash by backend and key. Saving new content changes the hash: put files into sets after that."""
        return hash((self.backend_key, self._key)) if self._key is not None else object.__hash__(self)

    def __repr__(self) -> str:
        """Return the identity and the main facts; no backend is looked up."""
        state = "pending" if self.has_pending_data else f"key={self._key!r}"
        return (
            f"FileObject(backend={self.backend_key!r}, filename={self._filename!r}, {state}, "
            f"size={self.size}, content_type={self.content_type!r})"
        )

    # -- as data

    def linked_facts(self) -> tuple[str, str, int | None, str | None, float | None]:
        """Return what a link tells about the object: filename, content type, size, entity tag, last write."""
        return self._filename, self._content_type or self.content_type, self.size, self.etag, self.last_modified

    def shown(self) -> PublicFile:
        """Return what a client may know about the file."""
        # Slots instead of properties: this runs for each file of a list.
        here = answering.get()
        if self._content is not None or self._source_path is not None:
            logger.warning(
                "%r is in an answer, but is not stored yet: it has no size and no URL. Call 'await session.flush()' "
                "after adding its row, or 'await file.save_async()'",
                self,
            )
        return PublicFile(
            filename=self._filename,
            content_type=self._content_type or self.content_type,
            size=self.size,
            etag=self.etag,
            url=here.build_url(self) if here is not None and here.build_url is not None else None,
            id=msgspec.UNSET if self.id is None else self.id,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what a row keeps, as Advanced Alchemy wrote it, with the key as ``to_filename``.

        It is for the database only, because it contains key and backend; clients get `public_file` instead.
        """
        result: dict[str, Any] = {"filename": self._filename}
        if self.path != self._filename:
            result["to_filename"] = self.path
        for name in _FIELDS:
            result[name] = getattr(self, name)
        if self.id is not None:
            result["metadata"] = {**self.metadata, ID_IN_METADATA: self.id}
        result["backend"] = self.backend_key
        return result

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], backend: str | StorageBackend | None = None, *, in_row: bool = False
    ) -> Self:
        """Return the stored file that `to_dict` described; rows written by Advanced Alchemy load unchanged.

        Args:
            data: Data from a trusted source, the database. Unknown names are ignored.
            backend: Used if `data` names no backend.
            in_row: Whether `data` is what a row holds.
        """
        # Past `__init__`, which checks what programs say and costs as much again for every row that is loaded.
        file = cls.__new__(cls)
        file._load(data, data.get("backend") or backend or "", in_row=in_row)  # noqa: SLF001  # of this class
        return file

    def _load(self, data: Mapping[str, Any], backend: str | StorageBackend, *, in_row: bool) -> None:
        get = data.get
        self._backend = backend
        self.backend_key = backend if isinstance(backend, str) else backend.key
        self._filename = data["filename"]  # without it, this is no file
        self._key = get("to_filename") or self._filename
        self._content_type, self.size, self.last_modified = get("content_type"), get("size"), get("last_modified")
        self.checksum, self.etag, self.version_id = get("checksum"), get("etag"), get("version_id")
        self._metadata = dict(get("metadata") or {})
        self.id = self._metadata.pop(ID_IN_METADATA, None)
        # Not `to_filename`: this program did not pin the key of a row, so new content gets a new one.
        self._pinned = self._content = self._source_path = self.key_template = None
        self.given_id = self.referred = self.on_change = None
        self._fresh = self._made_here = False
        self.in_row, self.key_ext, self.passed_rules = in_row, "", ()

    def complete(self, info: ObjectInfo) -> Self:
        """Take over a backend's information about the stored content, and return the same file."""
        self.size = info.size
        self.last_modified = info.last_modified
        self.checksum = info.checksum
        self.etag = info.etag
        self.version_id = info.version_id
        return self

    def pending_content(self) -> PendingContent:
        """Return the content that is still to be saved, for `restore`."""
        return PendingContent(self._content, self._source_path)

    def replace_content(self, content: AsyncDataLike) -> None:
        """Replace the pending content by `content`: the same bytes, from its current position."""
        self._content, self._source_path = content, None

    def restore(self, pending: PendingContent) -> None:
        """Make the file new again: its object is gone, its content is to be saved again.

        Content that can be read only once is lost: saving the file then raises `SourceTypeError`.
        """
        self._key, self._made_here = None, False
        self._source_path = pending.source_path
        self._content = pending.content if pending.is_replayable else cast("AsyncDataLike", _Consumed())
        self.size = self.last_modified = self.checksum = self.etag = self.version_id = None
        self._know_origin()

    def _know_origin(self) -> None:
        """Take over what is known about the object that is going to be copied."""
        if isinstance(self._content, ObjectCopy):
            self.size, self.checksum, self.etag = self._content.size, self._content.checksum, self._content.etag

    def _changing(self) -> None:
        if self.on_change is not None:
            self.on_change(self)

    def prepare_key(self, made: str | None = None) -> str:
        """Set and return the key that the pending content is going to be saved under.

        Args:
            made: A key that was made for such content beforehand, and that nothing else uses.
        """
        self._fresh = self._pinned is None
        self.passed_rules = ()
        if (key := self._pinned or made) is None:
            key = self.backend.make_key(self.key_template, ext=self.key_ext)
        self._key = key
        return key

    @contextmanager
    def _taking_key(self) -> Generator[None]:
        """Take the pinned or a new key for the time of a save, and keep it only if the save succeeds."""
        if self.on_change is not None:
            self.on_change(self)
        previous = (None, False) if self.has_pending_data else (self._key, self._fresh)
        if not (self._fresh and self.has_pending_data):
            self.prepare_key()
        try:
            yield
        except BaseException:
            self._key, self._fresh = previous
            raise

    def save(
        self,
        data: DataLike | None = None,
        *,
        use_multipart: bool | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> FileObject:
        """Store content and complete the metadata. New content gets a new key, also on a file that was stored before.

        While an application with `FilestorePlugin` runs, the object belongs to the current request, like an upload: it
        is given up at the end of the request unless a row takes it or `storages.keep` is called. Outside of a request,
        a row has an hour to take it. Both apply to the backends of columns whose database has a ledger.

        Args:
            data: See `StorageBackend.put`; ``None`` takes the pending content.
            use_multipart: Accepted for compatibility; the driver decides by size.
            chunk_size: Size of the parts of a multipart upload in bytes; ``None`` lets the driver choose.
            max_concurrency: Parts in flight; ``None`` lets the driver choose.

        Returns:
            This file, as the backend returned it.

        Raises:
            SourceTypeError: If there is nothing to save, or only an async source. It is a ``TypeError`` as well.
            ObjectExistsError: If `to_filename` pins a key that is taken.
            ObjectNotFoundError: If the object to be copied is gone.
            QuotaExceededError: If the owner of new objects may not store that much.
            StorageError: If the store fails; the file is then as it was before.
        """
        source = cast("DataLike", self._source(data))
        with self._taking_key(), surroundings.saving(self):
            saved = self._write(
                source, use_multipart=use_multipart, chunk_size=chunk_size, max_concurrency=max_concurrency
            )
        return self._saved(saved)

    async def save_async(
        self,
        data: AsyncDataLike | None = None,
        *,
        use_multipart: bool | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> FileObject:
        """`save` without blocking the event loop; takes async sources as well."""
        source = self._source(data)
        with self._taking_key():
            async with surroundings.saving_async(self):
                saved = await self._write_async(
                    source, use_multipart=use_multipart, chunk_size=chunk_size, max_concurrency=max_concurrency
                )
        return self._saved(saved)

    def put(self, **options: Any) -> FileObject:
        """`save` pending content for a caller that looks after the object itself.

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
        saved: FileObject = self.backend.save_object(self, source, **_said(options))
        return saved

    async def _write_async(self, source: AsyncDataLike, **options: Any) -> FileObject:
        if isinstance(source, ObjectCopy) and source.backend is self.backend and await self._copy_within_async(source):
            return self._copied(source, None if _is_known(source) else await self.backend.head_async(self.path))
        saved: FileObject = await self.backend.save_object_async(self, source, **_said(options))
        return saved

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
        # Stores do not describe what they have copied. What the original's row knows about the content applies to the
        # copy too.
        self.size, self.etag, self.last_modified, self.version_id = source.size, source.etag, time.time(), None
        if info is not None:
            self.complete(info)
        self.checksum = source.checksum
        return self

    def _source(self, data: AsyncDataLike | None) -> AsyncDataLike:
        source = data if data is not None else self._content
        if source is None and (source := self._source_path) is None:
            raise SourceTypeError(
                "No data provided and no pending content/path found to save. Pass data to save(), or content= to "
                "FileObject."
            )
        check_source(source)
        return source

    def _saved(self, saved: FileObject) -> FileObject:
        self._content = self._source_path = None
        self._made_here, self._fresh = self._fresh, False
        return saved

    def get_content(self, *, options: dict[str, Any] | None = None) -> bytes:
        """Return the whole content, held in memory as a whole; use `stream` or `open` to avoid that.

        Raises:
            ObjectNotFoundError: If there is no such object, or the content was not saved yet.
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
        """`stream` without blocking the event loop. This is an async generator; closing it frees its resources."""
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
        """Backend and key of the content; of a copy that is still to be made, those of its origin."""
        content = cast("object", self._content)
        if isinstance(content, ObjectCopy):
            return content.backend, content.key
        if self._key is None:
            raise ObjectNotFoundError(
                "This file is not stored yet: call save(), or add its row to the session and flush()",
                backend=self.backend_key,
            )
        return self.backend, self._key

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
        """Return a new file that is going to get the same content under a new key. Nothing is stored yet.

        The session that writes the copy to a row stores it, or `save` does: inside the store if possible, otherwise by
        reading the object, for example between two backends. Until then its content is read from this file's object.

        Args:
            backend: Where the copy goes, a backend or its key; ``None`` for the same one.

        Raises:
            SourceTypeError: If this file itself is still to be saved, from content that can be read only once. It is a
                ``TypeError`` as well.
        """
        pending = self.pending_content()
        if not pending.is_replayable:
            raise SourceTypeError(
                "This content can be read only once, so it makes only one file: save the file, then copy it"
            )
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
        """Delete the object; a missing one is no error. Rows that hold the file stay as they are: clear them too."""
        if self._key is not None:
            self.backend.delete_object(self._key)

    async def delete_async(self) -> None:
        """`delete` without blocking the event loop."""
        if self._key is not None:
            await self.backend.delete_object_async(self._key)

    def sign(self, *, expires_in: int | None = None, for_upload: bool = False) -> str:
        """Return a signed URL: the store's own, or one of the running application if the store cannot sign.

        The store's link does not set the headers of the answer, and allows an upload to be repeated; see `url`.

        Args:
            expires_in: Life in seconds, 1 to 604,800 (7 days); ``None`` means the backend's `default_expires_in`.
            for_upload: ``False`` for a URL to GET, ``True`` for one to PUT.

        Raises:
            UnsupportedOperationError: If the store cannot sign and no application with a secret runs; it is a
                ``NotImplementedError`` as well.
        """
        try:
            return _single(self.backend.sign(self.path, expires_in=expires_in, for_upload=for_upload))
        except NotImplementedError as error:
            links = self._links_instead(error)
            return links.url_for(self, self._wish(expires_in, for_upload=for_upload))

    async def sign_async(self, *, expires_in: int | None = None, for_upload: bool = False) -> str:
        """`sign` without blocking the event loop."""
        try:
            return _single(await self.backend.sign_async(self.path, expires_in=expires_in, for_upload=for_upload))
        except NotImplementedError as error:
            links = self._links_instead(error)
            return await links.url_for_async(self, self._wish(expires_in, for_upload=for_upload))

    def _links_instead(self, error: NotImplementedError) -> LinkMaker:
        """Return who makes links for a store that cannot sign."""
        if (links := surroundings.link_maker) is None:
            raise UnsupportedOperationError(
                f"{error.detail if isinstance(error, StorageError) else error}. {_WHO_MAKES_LINKS}",
                operation="sign",
                backend=self.backend_key,
                key=self.path,
            ) from error
        return links

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

        If no application with a secret runs, it is a URL below the backend's public `base_url`, or else the store's
        own.

        Args:
            expires_in: Longest life in seconds; ``None`` takes the application's default.
            disposition: ``"inline"`` for files that a browser should show; ``None`` is ``"attachment"``.
            filename: Name to save under; ``None`` takes the file's.

        Raises:
            UnsupportedOperationError: If there is neither an application nor a URL of the store.
            ConfigurationError: If headers are asked for and no application with a secret runs.
        """
        if surroundings.link_maker is not None or disposition is not None or filename is not None:
            wish = LinkWish(expires_in=expires_in, disposition=disposition, filename=filename)
            return surroundings.needed_link_maker().url_for(self, wish)
        return self.backend.public_url(self.path) if self.backend.base_url else self.sign(expires_in=expires_in)

    async def url_async(
        self,
        *,
        expires_in: int | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """`url` without blocking the event loop."""
        if surroundings.link_maker is not None or disposition is not None or filename is not None:
            wish = LinkWish(expires_in=expires_in, disposition=disposition, filename=filename)
            return await surroundings.needed_link_maker().url_for_async(self, wish)
        if self.backend.base_url:
            return self.backend.public_url(self.path)
        return await self.sign_async(expires_in=expires_in)

    def __copy__(self) -> FileObject:
        """Return another handle to the same file."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> FileObject:
        """Return another handle to the same file: the backend is shared, content that is still to be saved too."""
        twin = FileObject.from_dict(self.to_dict(), self._backend)
        shared = ("_backend", "backend_key", "_content", "_source_path", "_key", "_pinned", "key_template", "given_id")
        for name in shared:
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
                f"A file with unsaved content of type {type(content).__name__} cannot be pickled: save() the file "
                "first, or give its content as bytes or a path"
            )
        pending = {
            name: getattr(self, name) for name in ("_content", "_source_path", "_key", "_pinned", "key_template")
        }
        return _unpickle, (self.to_dict(), pending)

    @classmethod
    def __get_pydantic_core_schema__(cls, source_type: Any, handler: Any) -> Any:
        """Accept instances only; write the public form as JSON."""
        return _pydantic_core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the public form."""
        return _pydantic_json_schema()


def _said(options: dict[str, Any]) -> dict[str, Any]:
    # Backends written for Advanced Alchemy have their own defaults, and do not accept None as a number.
    return {name: value for name, value in options.items() if value is not None}


def _is_known(source: ObjectCopy) -> bool:
    # Not for rows that Advanced Alchemy wrote.
    return source.size is not None and source.etag is not None


def _single(urls: str | list[str]) -> str:
    if isinstance(urls, str):
        return urls
    if not urls:
        raise StorageError(
            "No signed URL generated: the sign() of the backend has to return one URL for each path", operation="sign"
        )
    return urls[0]


def _unpickle(data: dict[str, Any], pending: dict[str, Any]) -> FileObject:
    file = FileObject.from_dict(data)
    for name, value in pending.items():
        setattr(file, name, value)
    return file


class KeptFile(FileObject):
    """Stands for a file of a list that a client has named by its id alone, to keep it.

    Which file that is, only the row knows that the list is assigned to; the list then holds that file instead. Until
    then nothing else is known, and every use raises `FileRejectedError`: an id gives its sender nothing to read.
    """

    __slots__ = ()

    def __init__(self, file_id: str) -> None:
        """Stand for the file of this id. All other slots stay empty, so that reading one calls ``__getattr__``."""
        self.given_id = file_id
        self.on_change = None

    def __getattr__(self, name: str) -> Any:
        if name not in FileObject.__slots__:
            raise AttributeError(name)
        raise FileRejectedError(
            "This is only the id of a file, which says something to the list that holds it and to nobody else: send "
            "the content, or the reference of an upload"
        )

    @property
    def has_pending_data(self) -> bool:
        """False: the file is stored already."""
        return False

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same object: equal ids of two lists are different files."""
        return self is other

    def __hash__(self) -> int:
        """Hash by identity."""
        return object.__hash__(self)

    def __repr__(self) -> str:
        """Return the id."""
        return f"KeptFile({self.given_id!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> KeptFile:
        """Return the same: it does not change."""
        return self


class Saver(Protocol):
    """Knows of files that the program stores by itself."""

    def knows(self, backend: str) -> bool:
        """Return whether objects in the backend of a key can be known."""
        ...

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file that has its key is stored by hand: it is known before its first byte."""
        ...

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        ...


class Keeper(Saver, Protocol):
    """Looks after files that no row holds: those of a request, or those of an application outside of its requests."""

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request."""
        ...

    async def discard(self, file: FileObject) -> object:
        """Give up a file that was kept."""
        ...


class LinkMaker(Protocol):
    """Makes links and references, and reads references."""

    outside: str
    """What URLs of the application begin with: its public URL, else the path at which it is mounted, escaped."""

    def url_for(self, file: FileObject, wish: LinkWish) -> str:
        """Return a link; see `StorageRegistry.url_for`."""
        ...

    async def url_for_async(self, file: FileObject, wish: LinkWish) -> str:
        """`url_for` without blocking the event loop."""
        ...

    def reference_for(self, file: FileObject, expires_in: int | None, *, kept: bool = False) -> str:
        """Return a reference; see `StorageRegistry.reference_for`."""
        ...

    def file_for(self, reference: str) -> FileObject:
        """Return the file of a reference; see `StorageRegistry.file_for`."""
        ...

    def ticket_for(self, upload_id: str, metadata: str | None = None) -> str:
        """Return a ticket, which names an upload to the client that has begun it, and to nobody else."""
        ...

    def read_ticket(self, ticket: str) -> tuple[str, str | None]:
        """Return what a ticket was made for.

        Raises:
            InvalidTokenError: If it is no ticket of this application.
        """
        ...


class Answering(NamedTuple):
    """The application that answers a request, as files see it."""

    keeper: Keeper | None = None
    """Looks after the files that the request stores."""
    links: LinkMaker | None = None
    """Makes links; ``None`` in an application without links."""
    build_url: Callable[[FileObject], str | None] | None = None
    """Makes the `url` of a file in the answer."""


answering: ContextVar[Answering | None] = ContextVar("litestar_filestore_answering", default=None)
"""Of the request that is being answered. Encoders, decoders and `FileObject.save` are given no request."""


_WHO_MAKES_LINKS = (
    "Links are made by an application with FilestoreConfig(secret=...) while it runs. In a script, make them inside "
    "'with config.opened():', or 'async with'"
)


class Surroundings:
    """The process, as files see it: backends by key, and the keepers and link makers of running applications."""

    def __init__(self, backends: dict[str, StorageBackend] | None = None) -> None:
        """Start without applications.

        Args:
            backends: The table of backends; ``None`` for an empty one.
        """
        self.backends: dict[str, StorageBackend] = {} if backends is None else backends
        self.keepers: list[Keeper] = []
        """Of the running applications, in the order of their start."""
        self.link_makers: list[LinkMaker] = []
        """Of the running applications, in the order of their start."""

    @property
    def link_maker(self) -> LinkMaker | None:
        """The application that answers the request, else the one that started last; ``None`` where none makes links."""
        if (here := answering.get()) is not None:
            return here.links
        return self.link_makers[-1] if self.link_makers else None

    def needed_link_maker(self) -> LinkMaker:
        """Return who makes links here and now.

        Raises:
            ConfigurationError: If nobody does.
        """
        if (maker := self.link_maker) is None:
            raise ConfigurationError(f"Nobody makes links here. {_WHO_MAKES_LINKS}", operation="sign")
        return maker

    def keeper_of(self, file: FileObject) -> Keeper | None:
        """Return who looks after a file: the request that is answered, else the application that started last."""
        if (here := answering.get()) is not None and here.keeper is not None:
            return here.keeper
        return next((each for each in reversed(self.keepers) if each.knows(file.backend_key)), None)

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file is stored by hand; one that does nothing where no application runs."""
        found = self.keeper_of(file)
        return nullcontext() if found is None else found.saving(file)

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        found = self.keeper_of(file)
        return nullcontext() if found is None else found.saving_async(file)


surroundings = Surroundings(registered)
"""Those of this process; `storages` stands over them."""


def sent_file(sent: object) -> FileObject:
    """Return the file that a request names, for decoders, which know what was sent and nothing else.

    It is the reference of a file, an id in the list that the file is for, or a mapping with ``id`` and ``file``: a new
    file in the place of the one with that id. What answers show beside an id may be sent back, and is ignored.

    A mapping without an id is refused, and nothing but ``id`` and ``file`` is read from the others: a client could name
    any object of any backend, which would then be read, and deleted with the row.

    Raises:
        ValueError: If it names no file. Its message is for clients.
    """
    if isinstance(sent, FileObject):
        return sent
    if isinstance(sent, str):
        return KeptFile(sent) if is_file_id(sent) else _referred_file(sent)
    if isinstance(sent, dict):
        members = cast("dict[str, Any]", sent)
        given_id, content = members.get("id"), members.get("file")
        if isinstance(given_id, str) and is_file_id(given_id) and not isinstance(content, dict):
            file = KeptFile(given_id) if content is None else sent_file(content)
            if file.given_id in {None, given_id}:
                file.given_id = given_id
                return file
    raise ValueError(_EXPECTED)


_EXPECTED = "expected an uploaded file, or the reference of one"


def _referred_file(reference: str) -> FileObject:
    """Return the file of a reference, only while a request is answered, and by the application that answers it."""
    here = answering.get()
    try:
        if here is not None and here.links is not None:
            return here.links.file_for(reference)
    except InvalidTokenError:
        pass
    raise ValueError(_EXPECTED)


class PublicFile(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON form of a stored file: never its key, backend or metadata."""

    filename: str
    """Name for people, as it is offered for download."""
    content_type: str
    """Media type."""
    size: int | None = None
    """Length in bytes."""
    etag: str | None = None
    """Strong entity tag with its quotes (RFC 9110 §8.8.3)."""
    url: str | None = None
    """URL to download it, where the application has one."""
    id: str | msgspec.UnsetType = msgspec.UNSET
    """Names it in its list; missing outside of lists."""


def public_file(file: FileObject) -> PublicFile:
    """Return what a client may know about `file`."""
    return file.shown()


def _pydantic_core_schema(cls: type[FileObject]) -> Any:
    """Return a schema that accepts instances of `cls` and writes JSON as clients may see it.

    What `sent_file` accepts is accepted as well.
    """
    from pydantic_core import PydanticCustomError, core_schema

    def validate(value: Any) -> Any:
        try:
            file = sent_file(value)
        except ValueError:
            file = None
        if not isinstance(file, cls):
            raise PydanticCustomError("file_expected", "Input should be an uploaded file, or the reference of one")
        return file

    return core_schema.no_info_plain_validator_function(
        validate,
        serialization=core_schema.plain_serializer_function_ser_schema(
            lambda file: msgspec.to_builtins(public_file(file)), when_used="json"
        ),
    )


def _pydantic_json_schema() -> dict[str, Any]:
    """Return the JSON schema of the public form."""
    (schema,), components = msgspec.json.schema_components([PublicFile])
    return components["PublicFile"] if "$ref" in schema else schema
