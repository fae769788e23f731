"""The files of a request while somebody watches uploads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from litestar.exceptions import HTTPException

from litestar_filestore.core.file_events import UploadEnded
from litestar_filestore.core.watching import outcome_of, tell
from litestar_filestore.uploads.intake import RequestFiles
from litestar_filestore.uploads.parts import Part

if TYPE_CHECKING:
    from litestar_filestore.core.file_events import Transport
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.sources import LiveSource
    from litestar_filestore.core.watching import Outcome
    from litestar_filestore.uploads.arrivals import Arrivals
    from litestar_filestore.uploads.plan import PlannedFile

__all__ = ("WatchedFiles",)


class WatchedFiles(RequestFiles):
    """Tells how each upload has ended. An application takes it instead of `RequestFiles` if somebody watches."""

    __slots__ = ()

    async def store(
        self, source: LiveSource, planned: PlannedFile, *, filename: str, declared_type: str | None, arrivals: Arrivals
    ) -> FileObject:
        """Store one file, and tell."""
        begin, size, raised = time.monotonic(), 0, None
        try:
            file = await super().store(
                source, planned, filename=filename, declared_type=declared_type, arrivals=arrivals
            )
            size = file.size or 0
        except BaseException as error:
            raised = error
            raise
        finally:
            seconds = time.monotonic() - begin
            way = _way(source, planned, arrivals)
            tell(UploadEnded(self._key(planned), way, _outcome(raised), size, seconds))
        return file

    def _key(self, planned: PlannedFile) -> str:
        if planned.backend is not None:
            return planned.backend
        keys = self.settings.registry.registered_backends()
        return keys[0] if len(keys) == 1 else ""


def _way(source: LiveSource, planned: PlannedFile, arrivals: Arrivals) -> Transport:
    if planned.link is not None:
        return "link"
    if isinstance(source, Part):
        return "form"
    return "body" if source is arrivals and hasattr(arrivals, "start") else "resumable"


def _outcome(error: BaseException | None) -> Outcome:
    if isinstance(error, HTTPException) and error.status_code < 500:  # noqa: PLR2004  # a limit: RFC 9110 §15.5
        return "refused"
    return outcome_of(error)
