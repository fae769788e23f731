"""What happens to files: the events that watchers and listeners are called with."""

from __future__ import annotations

from litestar_filestore.core.file_events import (
    Event,
    FileDoomed,
    FileLinked,
    LedgerCounted,
    SweepEnded,
    Transport,
    UploadEnded,
)
from litestar_filestore.core.watching import OperationEnded, Outcome, Watcher

__all__ = (
    "Event",
    "FileDoomed",
    "FileLinked",
    "LedgerCounted",
    "OperationEnded",
    "Outcome",
    "SweepEnded",
    "Transport",
    "UploadEnded",
    "Watcher",
)
