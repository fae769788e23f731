"""What happens to files: the events of uploads, rows and sweeps. Those of backends stand beside `tell`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from litestar_filestore.core.watching import OperationEnded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.watching import Outcome

__all__ = (
    "Event",
    "FileDoomed",
    "FileLinked",
    "LedgerCounted",
    "SweepEnded",
    "Transport",
    "UploadEnded",
)

Transport: TypeAlias = Literal["form", "body", "link", "resumable", "direct"]
"""``form``: a part of a form; ``body``: a request whose body is the file; ``link``: through an upload link; ``direct``:
put into the store, or to the application in its place, in parts that the client has cut."""


@dataclass(frozen=True, slots=True)
class FileLinked:
    """A committed row holds a file that it did not hold before the transaction."""

    backend: str
    """Key of its backend."""
    file: FileObject
    """The file."""


@dataclass(frozen=True, slots=True)
class FileDoomed:
    """A committed transaction took a file out of its row; the object is deleted by a sweep."""

    backend: str
    """Key of its backend."""
    file: FileObject
    """The file, as the row held it."""


@dataclass(frozen=True, slots=True)
class UploadEnded:
    """A file of a request was stored, or not. Whether a row takes it is decided later: see `FileLinked`."""

    backend: str
    """Key of its backend; empty if that was not clear."""
    transport: Transport
    """The way on which it came."""
    outcome: Outcome
    """What became of it."""
    size: int
    """Bytes that were stored; 0 unless the outcome is ``ok``."""
    seconds: float | None
    """From the first byte to the last; ``None`` for a resumable or direct upload, which takes several requests."""


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """A sweep of one backend in one ledger has ended."""

    database: str
    """URL of the ledger's database, without its password."""
    backend: str
    """Key of the backend."""
    deleted: int
    """Objects deleted, or found to be missing already."""
    failed: int
    """Objects whose delete failed."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True)
class LedgerCounted:
    """A ledger was counted; before a sweep, every five minutes at most."""

    database: str
    """URL of its database, without its password."""
    states: Mapping[tuple[str, str], int]
    """Number of objects by backend and state."""
    lag_seconds: Mapping[str, float]
    """For each backend, how long the oldest object that is due has been waiting for a sweep; 0 if none is due."""


Event: TypeAlias = FileLinked | FileDoomed | UploadEnded | OperationEnded | SweepEnded | LedgerCounted
"""All events."""
