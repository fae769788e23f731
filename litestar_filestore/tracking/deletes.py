"""Deletes objects that no row needs, and remembers those whose delete failed."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.orm.bridge import call
from litestar_filestore.tracking.marks import erase, erase_async

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from litestar_filestore.core.backend import StorageBackend

__all__ = (
    "MAX_WAITING",
    "Target",
    "delete_targets",
    "delete_targets_async",
    "retry_deletes",
    "retry_deletes_async",
)

logger = logging.getLogger("litestar_filestore")


class Target(NamedTuple):
    """One object and the backend that holds it."""

    backend: StorageBackend
    key: str
    may_be_marked: bool = False
    """Whether the object may have marks; if so, a separate request deletes them too."""


MAX_WAITING = 100_000
"""Most failed deletes that a process remembers, some 20 MB: an endless outage must not fill its memory."""

_waiting: deque[Target] = deque()
"""Objects to delete. An object leaves the queue when its delete begins, and returns if that fails or is cancelled, so
threads can share the queue and no object is forgotten."""


def delete_targets(targets: Iterable[Target]) -> None:
    """Delete objects, and those whose delete failed before; for session events.

    The rows are committed or rolled back by now, so a failure must not look like one of the transaction. Instead it is
    logged, and the next transaction that deletes anything tries again.
    """
    _waiting.extendleft(targets)
    refusing: set[StorageBackend] = set()
    for target in _due(refusing):
        with _kept_on_failure(target, refusing):
            call(partial(erase, *target), partial(erase_async, *target))


def retry_deletes() -> int:
    """Try the failed deletes of this process again, and return how many are still left."""
    delete_targets(())
    return len(_waiting)


async def delete_targets_async(targets: Iterable[Target]) -> None:
    """`delete_targets` without blocking the event loop."""
    _waiting.extendleft(targets)
    await retry_deletes_async()


async def retry_deletes_async() -> int:
    """`retry_deletes` without blocking the event loop."""
    refusing: set[StorageBackend] = set()
    for target in _due(refusing):
        with _kept_on_failure(target, refusing):
            await erase_async(*target)
    return len(_waiting)


def _due(refusing: set[StorageBackend]) -> Iterator[Target]:
    """Take each waiting target once.

    Once a backend has failed, its other targets go back untried: an outage costs one attempt per transaction, not one
    per object.
    """
    for _ in range(len(_waiting)):
        try:
            target = _waiting.popleft()
        except IndexError:  # another thread was faster
            return
        if target.backend in refusing:
            _waiting.append(target)
        else:
            yield target


def _remember(target: Target) -> None:
    _waiting.append(target)
    if len(_waiting) > MAX_WAITING:
        lost = _waiting.popleft()
        logger.error(
            "More than %d deletes have failed: %s:%s is forgotten and stays in the store; compare its listing with "
            "your rows when it works again",
            MAX_WAITING,
            lost.backend.key,
            lost.key,
        )


@contextmanager
def _kept_on_failure(target: Target, refusing: set[StorageBackend]) -> Generator[None]:
    try:
        yield
    except BaseException as error:
        _remember(target)
        if not isinstance(error, Exception):
            raise
        refusing.add(target.backend)
        logger.warning("Could not delete %s:%s, will try again: %s", target.backend.key, target.key, error)
