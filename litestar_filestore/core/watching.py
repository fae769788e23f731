"""Who watches what happens to files, and what backends tell them.

Nobody watches unless an application says so at its start: then classes that tell take the place of those that do not.
Otherwise a request pays nothing.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from litestar_filestore.errors import (
    ConflictError,
    FileRejectedError,
    FileTooLargeError,
    InvalidArgumentError,
    InvalidTokenError,
    LinkLostError,
    ObjectExistsError,
    ObjectNotFoundError,
    QuotaExceededError,
    SourceTypeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = (
    "OperationEnded",
    "Outcome",
    "Watcher",
    "outcome_of",
    "tell",
    "watched_by",
    "watchers",
)

logger = logging.getLogger("litestar_filestore")

Outcome: TypeAlias = Literal["ok", "refused", "failed", "cancelled"]
"""``refused``: a limit, a rule or a missing object, the caller's fault. ``failed``: the store's, the database's or the
program's. ``cancelled``: the client has gone, or the time was up."""


@dataclass(frozen=True, slots=True)
class OperationEnded:
    """A backend has done an operation, or failed. It may be told by any thread."""

    backend: str
    """Key of the backend."""
    operation: str
    """``put``, ``get``, ``head``, ``delete``, ``list``, ``copy``, ``sign`` and so on."""
    outcome: Outcome
    """How it ended."""
    seconds: float
    """How long it took. Reading and listing end when the caller has had the last piece, so they take his time too."""


Watcher: TypeAlias = "Callable[[Any], object]"
"""Is called with every event. It must return at once, and may be called by any thread."""

_REFUSALS = (
    ConflictError,
    FileRejectedError,
    FileTooLargeError,
    InvalidArgumentError,
    InvalidTokenError,
    LinkLostError,
    ObjectExistsError,
    ObjectNotFoundError,
    QuotaExceededError,
    SourceTypeError,
)

watchers: list[Watcher] = []
"""Who watches in this process; empty on most ways of a request, where a call would cost more than a look."""


def outcome_of(error: BaseException | None) -> Outcome:
    """Return how something has ended, by the error that it raised."""
    if error is None:
        return "ok"
    if isinstance(error, _REFUSALS):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"


@contextmanager
def watched_by(watcher: Watcher) -> Generator[None]:
    """Return a context in which `watcher` is told every event of this process."""
    watchers.append(watcher)
    try:
        yield
    finally:
        watchers.remove(watcher)


def tell(event: object) -> None:
    """Tell all watchers."""
    for watcher in tuple(watchers):
        try:
            watcher(event)
        except Exception:
            # What has happened has happened: a watcher's error in the middle of it would be taken for one of the
            # commit, or of the store.
            logger.exception("A watcher failed on %s", type(event).__name__)
