"""The contract between the driver and one kind of file system.

Each kind is one module: a `Store`, the requests that it sends, and the options that its file system needs in addition
to the user's.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from litestar_filestore.backends.fsspec.running import InThread
from litestar_filestore.core.types import Capability, ObjectInfo
from litestar_filestore.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from litestar_filestore.backends.fsspec.running import Outcome, Runner
    from litestar_filestore.core.types import (
        Block,
        FormPolicy,
        Part,
        PartBuffers,
        PartLimits,
        PutOptions,
        SignedAnswer,
        SignedForm,
        SignMethod,
    )

__all__ = (
    "READ_BYTES",
    "FoundFile",
    "Page",
    "Place",
    "Reader",
    "Store",
    "Upload",
)

_TIMES = ("mtime", "modified", "LastModified", "last_modified", "modify", "created")


class FoundFile:
    """What a file system says about one name: fsspec's dictionary, whose entries differ between implementations."""

    __slots__ = ("details",)

    def __init__(self, details: dict[str, Any]) -> None:
        """Wrap what fsspec's ``info`` and ``ls`` give."""
        self.details = details

    @property
    def is_file(self) -> bool:
        """Whether it is a file, not a folder, link or device."""
        return self.details.get("type") == "file"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.details.get("type") == "directory"

    @property
    def size(self) -> int:
        """Length in bytes."""
        return int(self.details.get("size") or 0)

    @property
    def modified(self) -> float | None:
        """POSIX time of the last write, if known."""
        return next((_posix(self.details[name]) for name in _TIMES if self.details.get(name)), None)

    @property
    def etag(self) -> str | None:
        """Entity tag with its quotes, if there is one."""
        etag = self.details.get("etag")
        if not etag:
            return None
        return str(etag) if str(etag).endswith('"') else f'"{etag}"'

    @property
    def stamp(self) -> tuple[object, ...]:
        """A value that differs between two versions of a file, as far as the file system tells."""
        return self.size, self.modified, self.etag

    def info(self, path: str) -> ObjectInfo:
        """Return the info of the object `path`."""
        return ObjectInfo(key=path, size=self.size, last_modified=self.modified, etag=self.etag)


def _posix(value: Any) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, (int, float)):
        return float(value)
    with contextlib.suppress(ValueError):
        # FTP, RFC 3659 §2.3: always UTC.
        return datetime.strptime(str(value).partition(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(str(value)).timestamp()
    return None


READ_BYTES = 4 * 1024 * 1024
"""Most bytes that one step of a read returns."""


class Place(NamedTuple):
    """The place of a backend's objects in a file system."""

    root: str
    """Comes before every path, for example ``""``, ``"/"`` or ``"bucket/folder/"``."""
    prefix: str
    """The backend's prefix, without leading or trailing slash. Paths already include it; ``clean`` stays below it."""


class Page(NamedTuple):
    """A part of a listing."""

    infos: list[ObjectInfo]
    rest: Any
    """What to request next, or ``None`` at the end."""


class Upload(ABC):
    """A put under way. Nothing of it is visible before `commit`."""

    @abstractmethod
    def write(self, block: Block) -> Outcome[None]:
        """Take one block; it is only valid until this returns."""

    @abstractmethod
    def commit(self) -> Outcome[ObjectInfo]:
        """Publish everything that was written, atomically."""

    @abstractmethod
    def abort(self) -> Outcome[None]:
        """Remove what was sent. Called once after any failure of `write` or `commit`."""


class Reader(ABC):
    """A range read under way."""

    @abstractmethod
    def next(self) -> Outcome[bytes]:
        """Return the next bytes, or ``b""`` at the end of the range."""

    @abstractmethod
    def close(self) -> Outcome[None]:
        """Free what the reader holds."""


class Store(ABC):
    """One kind of file system, for one instance of it.

    The methods that touch the file system are either all blocking or all coroutine functions; `runner` knows which.
    """

    runner: ClassVar[type[Runner]] = InThread
    """Runs the methods."""
    protocol: ClassVar[str | None] = None
    """Name of the service, if the file system class does not state it."""
    capabilities: ClassVar[Capability] = Capability.NONE
    part_buffers: ClassVar[PartBuffers | None] = None
    """See `Driver.part_buffers`."""

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        self.fs = fs
        self.place = place

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the file system, completed with the timeouts and settings that this store needs."""
        return options

    @classmethod
    def capabilities_with(cls, options: dict[str, Any]) -> Capability:
        """Return what the store can do with these options."""
        del options
        return cls.capabilities

    @classmethod
    def part_limits_with(cls, options: dict[str, Any]) -> PartLimits | None:
        """Return what the store demands of parts with these options; see `Driver.part_limits`."""
        del options
        return None

    @classmethod
    def adopts(cls, options: dict[str, Any]) -> bool:
        """Return whether an instance made with these options can be used; else another one is made from them."""
        del options
        return True

    @property
    def is_usable(self) -> bool:
        """Whether the connection underneath is open, or reopens by itself."""
        return True

    @abstractmethod
    def upload(self, path: str, options: PutOptions) -> Upload:
        """Begin a put; sends nothing yet."""

    @abstractmethod
    def reader(self, path: str, start: int, end: int | None) -> Reader:
        """Begin a read; sends nothing yet."""

    @abstractmethod
    def head(self, path: str) -> Outcome[ObjectInfo]:
        """Return the info of one object."""

    @abstractmethod
    def delete(self, paths: Sequence[str]) -> Outcome[None]:
        """Delete these objects; see `Driver.delete`."""

    @abstractmethod
    def page(self, prefix: str, rest: Any) -> Outcome[Page]:
        """Return a part of the listing below `prefix`, the first one for ``rest=None``."""

    @abstractmethod
    def copy(self, source: str, target: str, *, overwrite: bool) -> Outcome[None]:
        """Copy one object; see `Driver.copy`."""

    @abstractmethod
    def clean(self, older_than: float) -> Outcome[int]:
        """Remove what interrupted puts left behind; see `Driver.clean`."""

    @abstractmethod
    def close(self) -> Outcome[None]:
        """Close the connections of the instance."""

    # Only called for `Capability.PARTS`; see the operations of `Driver`.

    def begin_parts(self, path: str, options: PutOptions) -> Outcome[str]:
        """Begin an object that is put in parts."""
        raise NotImplementedError

    def put_part(self, path: str, upload: str, number: int, offset: int, content: bytes) -> Outcome[Part]:
        """Store one part."""
        raise NotImplementedError

    def finish_parts(self, path: str, upload: str, parts: Sequence[Part], options: PutOptions) -> Outcome[ObjectInfo]:
        """Make the object of these parts; ``options.size`` is its length."""
        raise NotImplementedError

    def abandon_parts(self, path: str, upload: str) -> Outcome[None]:
        """Remove an unfinished object with its parts."""
        raise NotImplementedError

    def sign_part(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> Outcome[str]:
        """Return a URL to PUT one part."""
        raise NotImplementedError

    def list_parts(self, path: str, upload: str) -> Outcome[Sequence[Part]]:
        """Return the parts that have come."""
        raise NotImplementedError

    def cors(self, rules: Sequence[Mapping[str, Any]] | None) -> Outcome[Sequence[Mapping[str, Any]]]:
        """Return, and perhaps set, the rules of the bucket for origins; see `Driver.cors_async`."""
        del rules
        raise UnsupportedOperationError("This file system has no rules for origins that could be set here")

    def sign_form(self, path: str, policy: FormPolicy) -> Outcome[SignedForm]:
        """Return a form that puts an object."""
        raise NotImplementedError

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> Outcome[str]:
        """Return a signed URL; see `Driver.sign`."""
        del path, method, expires_in
        raise UnsupportedOperationError("This file system has no signed URLs of its own: use storages.url_for()")

    def sign_answer(self, path: str, answer: SignedAnswer) -> Outcome[str]:
        """Return a signed URL that fixes the response headers; see `Driver.sign_answer`."""
        del path, answer
        raise UnsupportedOperationError(
            "Signed URLs of this file system cannot set the headers of the answer: use storages.url_for()"
        )
