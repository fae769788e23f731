"""Which numbers there are, under the same names for every system that collects them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.file_events import FileDoomed, FileLinked, LedgerCounted, SweepEnded, UploadEnded
from litestar_filestore.core.watching import OperationEnded

if TYPE_CHECKING:
    from litestar_filestore.core.file_events import Event

__all__ = ("INSTRUMENTS", "Instrument", "Kind", "Metrics")


class Kind(Enum):
    """What is done with the values."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Instrument(NamedTuple):
    """One number, by its labels."""

    kind: Kind
    """What is done with its values."""
    about: str
    """What it tells."""
    labels: tuple[str, ...]
    """Names of its labels."""
    unit: str = ""
    """Unit, if the values are no numbers of things."""


INSTRUMENTS = {
    "uploads": Instrument(Kind.COUNTER, "Files of requests", ("backend", "transport", "outcome")),
    "upload_bytes": Instrument(Kind.COUNTER, "Bytes of stored files", ("backend", "transport"), "By"),
    "upload_seconds": Instrument(Kind.HISTOGRAM, "Time of an upload", ("backend", "transport"), "s"),
    "files_linked": Instrument(Kind.COUNTER, "Files that a committed row holds", ("backend",)),
    "files_doomed": Instrument(Kind.COUNTER, "Files that a committed transaction gave up", ("backend",)),
    "operations": Instrument(Kind.COUNTER, "Operations of backends", ("backend", "operation", "outcome")),
    "operation_seconds": Instrument(Kind.HISTOGRAM, "Time of an operation", ("backend", "operation"), "s"),
    "swept_objects": Instrument(Kind.COUNTER, "Objects that a sweep deleted, or could not", ("backend", "outcome")),
    "ledger_objects": Instrument(Kind.GAUGE, "Objects in a ledger", ("database", "backend", "state")),
    "sweep_lag_seconds": Instrument(
        Kind.GAUGE, "How long the oldest object that is due has been waiting", ("database", "backend"), "s"
    ),
}
"""All numbers. Their names are the same everywhere, after a prefix."""


class Metrics(ABC):
    """A watcher that turns events into numbers."""

    @abstractmethod
    def record(self, name: str, value: float, *labels: str) -> None:
        """Take a value for an instrument, with its labels in the order of `INSTRUMENTS`."""

    def __call__(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case UploadEnded():
                self._record_upload(event)
            case FileLinked(backend):
                self.record("files_linked", 1, backend)
            case FileDoomed(backend):
                self.record("files_doomed", 1, backend)
            case OperationEnded(backend, operation, outcome, seconds):
                self.record("operations", 1, backend, operation, outcome)
                self.record("operation_seconds", seconds, backend, operation)
            case SweepEnded(_, backend, deleted, failed):
                self.record("swept_objects", deleted, backend, "ok")
                self.record("swept_objects", failed, backend, "failed")
            case LedgerCounted():
                self._record_ledger(event)

    def _record_upload(self, upload: UploadEnded) -> None:
        self.record("uploads", 1, upload.backend, upload.transport, upload.outcome)
        self.record("upload_bytes", upload.size, upload.backend, upload.transport)
        if upload.seconds is not None:
            self.record("upload_seconds", upload.seconds, upload.backend, upload.transport)

    def _record_ledger(self, counted: LedgerCounted) -> None:
        for (backend, state), number in counted.states.items():
            self.record("ledger_objects", number, counted.database, backend, state)
        for backend, seconds in counted.lag_seconds.items():
            self.record("sweep_lag_seconds", seconds, counted.database, backend)
