"""What is known about one file: identity, metadata, and what a row keeps of it."""

from __future__ import annotations

import enum
import mimetypes
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar_filestore.core.registry import storages
from litestar_filestore.core.sources import ObjectCopy, check_source
from litestar_filestore.errors import InvalidArgumentError, SourceTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Self

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.rules import Rule
    from litestar_filestore.core.types import AsyncDataLike, ObjectInfo, PathLike

__all__ = ("FileRecord", "PendingContent", "Referred")

_FIELDS = ("content_type", "size", "last_modified", "checksum", "etag", "version_id", "metadata")


class Referred(enum.StrEnum):
    """What a client's reference says of the file that it names."""

    FREE = "free"
    """When it was made, no row held the file. It puts it into a row unless the application keeps it."""
    KEPT = "kept"
    """It puts into a row also what the application keeps."""
    HELD = "held"
    """When it was made, a row held the file."""


class PendingContent(NamedTuple):
    """What a file held before it was saved, so that a rolled back transaction can give it back."""

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


class FileRecord:
    """The part of `FileObject` that is data: identity, metadata, and what a row keeps of it."""

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
        "checksum",
        "etag",
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
            metadata: Anything that JSON can hold; it lies in the row, and in stores that keep metadata.
            source_path: A local file to store.
            content: Content to store; see `StorageBackend.put`. ``b""`` is an empty file.

        Raises:
            InvalidArgumentError: If `filename` is empty, `size` is negative, or both `content` and `source_path` are
                given. It is a ``ValueError`` as well.
            SourceTypeError: If `content` is a ``str``.
        """
        if not filename:
            raise InvalidArgumentError("A file needs a filename")
        if size is not None and size < 0:
            raise InvalidArgumentError(f"The size of a file is not negative: {size}")
        if content is not None and source_path is not None:
            raise InvalidArgumentError("Cannot provide both 'content' and 'source_path' during initialization.")
        check_source(content)
        self._backend = backend
        self._filename = filename
        self._pinned = to_filename
        self._content = content
        self._source_path = Path(source_path) if source_path is not None else None
        self._key: str | None = None if self.has_pending_data else to_filename or filename
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
        """Where to put new content instead of the backend's template; a column sets it."""
        self.key_ext = ""
        """Extension, with its dot, of the verified type of new content; for the key."""
        self.passed_rules: tuple[Rule, ...] = ()
        """What has accepted the content already, so that it is not asked again."""
        self.in_row = False
        """Whether it came out of a row of the database."""
        self.referred: Referred | None = None
        """What the reference says that a client has sent for it; ``None`` for a file that the program has itself."""
        self.on_change: Callable[[Any], None] | None = None
        """Called with the file before it changes in place; the row that holds it listens."""

    # -- identity

    @property
    def backend(self) -> StorageBackend:
        """The backend, looked up in `storages` if it was given by key.

        Raises:
            BackendNotRegisteredError: If no backend of that key is registered.
        """
        return storages.get_backend(self._backend) if isinstance(self._backend, str) else self._backend

    @property
    def backend_key(self) -> str:
        """Key of the backend; known without a look-up."""
        return self._backend if isinstance(self._backend, str) else self._backend.key

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
        """Whether the key was made for the content that is being saved, so that nothing can lie there already."""
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
        """User metadata. Change it with `update_metadata` or by assignment, so that the row notices."""
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
        """Whether there is content that was not saved yet; true for empty content as well."""
        return self._content is not None or self._source_path is not None

    def __eq__(self, other: object) -> bool:
        """Return whether both stand for the same object; see the class."""
        if not isinstance(other, FileRecord):
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

    def to_dict(self) -> dict[str, Any]:
        """Return what a row keeps, as Advanced Alchemy wrote it, with the key as ``to_filename``.

        For the database. It names key and backend: clients get `litestar_filestore.core.public.public_file` instead.
        """
        result: dict[str, Any] = {"filename": self._filename}
        if self.path != self._filename:
            result["to_filename"] = self.path
        for name in _FIELDS:
            result[name] = getattr(self, name)
        result["backend"] = self.backend_key
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], backend: str | StorageBackend | None = None) -> Self:
        """Return the stored file that `to_dict` described; rows written by Advanced Alchemy load unchanged.

        Args:
            data: From a trusted place, the database. Names that are not known are ignored.
            backend: Stands in where `data` names no backend.
        """
        file = cls(data.get("backend") or backend or "", data["filename"], data.get("to_filename"))
        file._pinned = None  # the key in a row was not pinned by this program: new content gets a new one
        file._content_type = data.get("content_type")
        file._metadata = dict(data.get("metadata") or {})
        for name in ("size", "last_modified", "checksum", "etag", "version_id"):
            setattr(file, name, data.get(name))
        return file

    def complete(self, info: ObjectInfo) -> Self:
        """Take over what a backend said about the stored content, and return the same file."""
        self.size = info.size
        self.last_modified = info.last_modified
        self.checksum = info.checksum
        self.etag = info.etag
        self.version_id = info.version_id
        return self

    def pending_content(self) -> PendingContent:
        """Return what is still to be saved, for `restore`."""
        return PendingContent(self._content, self._source_path)

    def replace_content(self, content: AsyncDataLike) -> None:
        """Have `content` saved in place of the pending one: the same bytes, from where they stand now."""
        self._content, self._source_path = content, None

    def restore(self, pending: PendingContent) -> None:
        """Make the file new again: its object is gone, its content is to be saved again.

        Content that can be read once only is not back: saving the file raises `SourceTypeError` then.
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

    def prepare_key(self) -> str:
        """Take the key that the pending content is going to be saved under, and return it."""
        self._fresh = self._pinned is None
        self.passed_rules = ()
        if (key := self._pinned) is None:
            key = self.backend.make_key(self.key_template, ext=self.key_ext)
        self._key = key
        return key

    @contextmanager
    def _taking_key(self) -> Generator[None]:
        """Take the pinned or a new key for the time of a save, and keep it only if the save succeeds."""
        self._changing()
        previous = (None, False) if self.has_pending_data else (self._key, self._fresh)
        if not (self._fresh and self.has_pending_data):
            self.prepare_key()
        try:
            yield
        except BaseException:
            self._key, self._fresh = previous
            raise
