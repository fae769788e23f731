"""Leaks of a test: open descriptors, temporary files, tasks."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("LeakGate", "assert_no_tasks", "open_descriptors")

SETTLE_SECONDS = 2.0
"""Longest time that descriptors take to close: library threads close them, and no event says when."""
SOON_SECONDS = 0.05
"""How long to wait before a garbage collection, which costs more than this wait."""
POLL_SECONDS = 0.01

_IGNORED = ("anon_inode:", "/dev/", "/proc/", "/memfd:", "/var/lib/libuuid/")
"""Kept by event loops and runtimes for as long as the process lives, or without cost."""


def open_descriptors() -> dict[int, str]:
    """Return this process's open descriptors of files, folders, pipes and sockets, with their targets.

    Linux only; elsewhere the result is empty.
    """
    found: dict[int, str] = {}
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile; one was the descriptor of this listing
        if not target.startswith(_IGNORED):
            found[int(entry.name)] = target
    return found


class LeakGate:
    """Remembers what is open when it is made, and reports whatever is open in addition when it is checked."""

    def __init__(
        self, folder: Path | None = None, *, sockets: bool = False, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        """Remember the state.

        Args:
            folder: Folder of temporary files, if nobody else uses it.
            sockets: Whether open sockets count. Runtimes of other languages close theirs at their own pace, obstore's
                at its next request.
            settle_seconds: How long descriptors may take to close.
        """
        self._folder = folder
        self._sockets = sockets
        self._settle_seconds = settle_seconds
        self._descriptors = set(open_descriptors().items())
        self._files = self._list()

    def check(self) -> None:
        """Compare with the current state; collect garbage first if necessary.

        Raises:
            AssertionError: With a list of what was left.
        """
        left = self._left_open()
        for seconds in (SOON_SECONDS, self._settle_seconds, self._settle_seconds):
            if left := self._wait(left, seconds):
                # After each wait: what a thread gives back meanwhile may be garbage by then. Not more often, as a
                # collection of a large process takes seconds in which no other thread comes to close anything.
                gc.collect()
                left = self._left_open()
        if left:
            raise AssertionError(f"left open: {left}")
        if files := sorted(self._list() - self._files):
            raise AssertionError(f"left in {self._folder}: {files}")

    def _wait(self, left: list[tuple[int, str]], seconds: float) -> list[tuple[int, str]]:
        """Give other threads some seconds to close what is left, and return what is still open."""
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            left = self._left_open()
        return left

    def _left_open(self) -> list[tuple[int, str]]:
        new = set(open_descriptors().items()) - self._descriptors
        return sorted((number, target) for number, target in new if self._sockets or not target.startswith("socket:"))

    def _list(self) -> set[str]:
        return {str(path) for path in self._folder.rglob("*")} if self._folder is not None else set()


async def assert_no_tasks(
    *, expected: Iterable[asyncio.Task[object]] = (), settle_seconds: float = SETTLE_SECONDS
) -> None:
    """Wait shortly until no other task runs in this event loop.

    Args:
        expected: Tasks that may go on.
        settle_seconds: How long the others may take to end.

    Raises:
        AssertionError: With the tasks that go on.
    """
    others = asyncio.all_tasks() - {asyncio.current_task(), *expected}
    if others:
        # Tasks that close a connection may still have a step to do.
        _, running = await asyncio.wait(others, timeout=settle_seconds)
        if running:
            raise AssertionError(f"left running: {running}")
