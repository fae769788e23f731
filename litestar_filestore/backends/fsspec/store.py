"""The contract between the driver and one kind of file system.

A kind is one module: a `Store`, the requests that it sends, and the options that its file system needs beside the
user's.
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
    from collections.abc import Sequence

    from litestar_filestore.backends.fsspec.running import Outcome, Runner
    from litestar_filestore.core.types import Block, PartBuffers, PutOptions, SignedAnswer, SignMethod

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
    """A file system's answer about one name: fsspec's dictionary, whose entries differ between implementations."""

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
        """POSIX time of the last write, where it is known."""
        return next((_posix(self.details[name]) for name in _TIMES if self.details.get(name)), None)

    @property
    def etag(self) -> str | None:
        """Entity tag with its quotes, where there is one."""
        etag = self.details.get("etag")
        if not etag:
            return None
        return str(etag) if str(etag).endswith('"') else f'"{etag}"'

    @property
    def stamp(self) -> tuple[object, ...]:
        """Differs between two versions of a file, as far as the file system tells."""
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
"""Bytes that one step of a read returns, at most."""


class Place(NamedTuple):
    """The place of a backend's objects in a file system."""

    root: str
    """Stands in front of every path, for example ``""``, ``"/"`` or ``"bucket/folder/"``."""
    prefix: str
    """The backend's prefix, which paths have already, without slashes at its ends: what tidying is confined to."""


class Page(NamedTuple):
    """A part of a listing."""

    infos: list[ObjectInfo]
    rest: Any
    """The next thing to ask for, or ``None`` at the end."""


class Upload(ABC):
    """A put on its way. Nothing of it can be seen before `commit`."""

    @abstractmethod
    def write(self, block: Block) -> Outcome[None]:
        """Take one block; it is only valid until this returns."""

    @abstractmethod
    def commit(self) -> Outcome[ObjectInfo]:
        """Publish everything that was written, at once."""

    @abstractmethod
    def abort(self) -> Outcome[None]:
        """Remove what was sent. Called after any failure of `write` or `commit`, once."""


class Reader(ABC):
    """A range read on its way."""

    @abstractmethod
    def next(self) -> Outcome[bytes]:
        """Return the next bytes, or ``b""`` at the end of the range."""

    @abstractmethod
    def close(self) -> Outcome[None]:
        """Free what the reader holds."""


class Store(ABC):
    """One kind of file system, for one instance of it.

    All methods that touch the file system are blocking, or all are coroutine functions; `runner` knows.
    """

    runner: ClassVar[type[Runner]] = InThread
    """Runs the methods."""
    protocol: ClassVar[str | None] = None
    """Name of the service where the class of the file system does not say it."""
    capabilities: ClassVar[Capability] = Capability.NONE
    part_buffers: ClassVar[PartBuffers | None] = None
    """See `Driver.part_buffers`."""

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        self.fs = fs
        self.place = place

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the file system, completed by what a server that must answer soon needs."""
        return options

    @classmethod
    def capabilities_with(cls, options: dict[str, Any]) -> Capability:
        """Return what the store can do with these options."""
        del options
        return cls.capabilities

    @classmethod
    def adopts(cls, options: dict[str, Any]) -> bool:
        """Return whether an instance that was made with these options will do; else another one is made of them."""
        del options
        return True

    @property
    def is_usable(self) -> bool:
        """Whether the connection underneath still stands, where it would not be opened again by itself."""
        return True

    @abstractmethod
    def upload(self, path: str, options: PutOptions) -> Upload:
        """Begin a put; sends nothing yet."""

    @abstractmethod
    def reader(self, path: str, start: int, end: int | None) -> Reader:
        """Begin a read; asks for nothing yet."""

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
        """Remove what interrupted puts left; see `Driver.clean`."""

    @abstractmethod
    def close(self) -> Outcome[None]:
        """Close the connections of the instance."""

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> Outcome[str]:
        """Return a signed URL; see `Driver.sign`."""
        del path, method, expires_in
        raise UnsupportedOperationError("This file system has no signed URLs of its own: use storages.url_for()")

    def sign_answer(self, path: str, answer: SignedAnswer) -> Outcome[str]:
        """Return a signed URL with headers of the answer; see `Driver.sign_answer`."""
        del path, answer
        raise UnsupportedOperationError(
            "Signed URLs of this file system cannot set the headers of the answer: use storages.url_for()"
        )
