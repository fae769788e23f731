"""Tracks objects that a request has stored for rows that may not exist yet: which are claimed, and which given up.

Without a ledger, nothing else knows these objects. A request watches the objects that it stores, and transactions claim
them. At the end of the request they are let go, and those that no row has taken are deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from litestar_filestore.errors import LinkLostError

if TYPE_CHECKING:
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.tracking.deletes import Target

__all__ = (
    "check",
    "claim",
    "is_watched",
    "let_go",
    "let_go_of_taken",
    "settle",
    "watch",
)


@dataclass(slots=True)
class _Hold:
    claims: int = 0
    """Open transactions that put the object into a row."""
    taken: bool = False
    """Whether a row has it, or may have it."""


_holds: dict[Target, _Hold] = {}
_given_up: WeakSet[FileObject] = WeakSet()
# Sync sessions run in threads, and an object that they claim must not be given up at the same moment.
_lock = Lock()


def watch(target: Target) -> None:
    """Start watching an object."""
    with _lock:
        _holds[target] = _Hold()


def is_watched(target: Target) -> bool:
    """Return whether an object belongs to a request."""
    return target in _holds


def claim(target: Target, file: FileObject) -> None:
    """Note that an open transaction puts an object into a row.

    Raises:
        LinkLostError: If the object was given up.
    """
    with _lock:
        check(file)
        if (hold := _holds.get(target)) is not None:
            hold.claims += 1


def settle(target: Target, *, taken: bool) -> None:
    """Note how a transaction that had claimed an object has ended."""
    with _lock:
        if (hold := _holds.get(target)) is not None:
            hold.claims -= 1
            hold.taken = hold.taken or taken


def let_go(target: Target, file: FileObject, *, give_up: bool) -> bool:
    """Forget an object.

    Args:
        target: The object.
        file: The file of the object.
        give_up: Whether to delete it if no row has it; then no row can take it any more.

    Returns:
        Whether it has to be deleted. It does not if an open transaction claims it, because its row may be committed
        soon.

    Raises:
        LinkLostError: If it was given up before.
    """
    with _lock:
        check(file)
        hold = _holds.pop(target, None)
        free = give_up and hold is not None and not hold.taken and not hold.claims
        if free:
            _given_up.add(file)
        return free


def let_go_of_taken(target: Target) -> bool:
    """Forget an object if a row has it, and return whether one has."""
    with _lock:
        hold = _holds.get(target)
        is_taken = hold is not None and hold.taken
        if is_taken:
            del _holds[target]
        return is_taken


def check(file: FileObject) -> None:
    """Make sure that a file was not given up.

    Raises:
        LinkLostError: If it was.
    """
    if file in _given_up:
        raise LinkLostError(
            "The request that stored the file is over and has given it up; store the content again",
            backend=file.backend_key,
            key=file.path,
        )
