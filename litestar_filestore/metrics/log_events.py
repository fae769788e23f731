"""Events in the log, with fields."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.file_events import FileDoomed, FileLinked, LedgerCounted, SweepEnded, UploadEnded
from litestar_filestore.core.watching import OperationEnded

if TYPE_CHECKING:
    from litestar_filestore.core.file_events import Event

__all__ = ("LogEvents",)

_NAMES = {
    FileLinked: "filestore.linked",
    FileDoomed: "filestore.doomed",
    UploadEnded: "filestore.upload",
    OperationEnded: "filestore.operation",
    SweepEnded: "filestore.sweep",
    LedgerCounted: "filestore.ledger",
}


class LogEvents:
    """A watcher that writes one line for each event: the event's name, and its values as fields.

    What failed is a warning, operations of backends are for debugging, everything else is information.
    """

    def __init__(self, logger: Any = None) -> None:
        """Log.

        Args:
            logger: One of structlog, which takes fields as keyword arguments, or of the standard library, which takes
                them as `extra`; ``None`` for the standard library's ``litestar_filestore.events``.
        """
        self._logger = logger or logging.getLogger("litestar_filestore.events")
        self._is_standard = isinstance(self._logger, (logging.Logger, logging.LoggerAdapter))

    def __call__(self, event: Event) -> None:
        """Write the line of an event."""
        log = getattr(self._logger, _level(event))
        name, found = _NAMES[type(event)], _fields(event)
        if self._is_standard:
            log(name, extra=found)
        else:
            log(name, **found)


def _level(event: Event) -> str:
    if getattr(event, "outcome", "ok") == "failed" or getattr(event, "failed", 0):
        return "warning"
    return "debug" if isinstance(event, OperationEnded) else "info"


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, (FileLinked, FileDoomed)):
        # Not the name: it is the client's, and `filename` is a field of the standard library's records.
        file = event.file
        return {"backend": event.backend, "key": file.path, "size": file.size, "content_type": file.content_type}
    if isinstance(event, LedgerCounted):
        counts = {f"{backend}.{state}": number for (backend, state), number in event.states.items()}
        return {"database": event.database, "states": counts, "lag_seconds": dict(event.lag_seconds)}
    return {each.name: getattr(event, each.name) for each in fields(event)}
