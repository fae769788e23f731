"""Keys whose intents are written ahead: an upload under load finds its intent there and pays nothing for it.

A process that stores many files enters the objects of the next moment in the statement of this one: as many as the last
second needed, and none if it is quiet. A reserved entry is staged like any other. If its process is killed, or has no
use for it, its lease runs out; at the end of an application it is removed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Kind", "Reserves")

_MOST = 64
_WINDOW_SECONDS = 1.0
_LIFE_SECONDS = 600.0
"""A reserved entry is not used later: most of its lease has to be left for the upload."""
_KINDS = 64
"""Kinds of objects that are counted; a key template may name each user."""


class Kind(NamedTuple):
    """What has to be known of an object before its key can be reserved. It has no owner, whose usage would count it."""

    backend: str
    template: str | None
    ext: str


class _Reserve:
    """The reserved keys of one kind, oldest first, with their time on both clocks, of which one may stand still."""

    def __init__(self) -> None:
        self.free: deque[tuple[str, float, float]] = deque()
        self.used: deque[float] = deque(maxlen=_MOST)


class Reserves:
    """The reserved keys of one process, by their kind."""

    def __init__(self) -> None:
        """Start without any."""
        self._kinds: dict[Kind, _Reserve] = {}
        self._pid = os.getpid()

    def take(self, kind: Kind) -> str | None:
        """Count an upload, and return a reserved key for it; ``None`` if there is none."""
        if self._pid != os.getpid():
            self._pid, self._kinds = os.getpid(), {}  # those are the parent process's
        reserve = self._kinds.get(kind)
        if reserve is None:
            if len(self._kinds) >= _KINDS:
                self._kinds.pop(next(iter(self._kinds)))
            reserve = self._kinds[kind] = _Reserve()
        now, then = time.monotonic(), time.time()
        reserve.used.append(now)
        while reserve.free:
            key, made, made_then = reserve.free.popleft()
            if now - made < _LIFE_SECONDS and abs(then - made_then) < _LIFE_SECONDS:
                return key
        return None

    def wanted(self, kind: Kind) -> int:
        """Return how many keys to reserve: those that the last second needed, unless it was only this one."""
        reserve = self._kinds.get(kind)
        if reserve is None or reserve.free:
            return 0
        begin = time.monotonic() - _WINDOW_SECONDS
        used = sum(each >= begin for each in reserve.used)
        return used if used > 1 else 0

    def add(self, kind: Kind, keys: list[str]) -> None:
        """Let uploads take keys whose entries are committed."""
        if (reserve := self._kinds.get(kind)) is not None:
            now, then = time.monotonic(), time.time()
            reserve.free.extend((key, now, then) for key in keys)

    def give_back(self) -> Iterator[tuple[str, str]]:
        """Take out all reserved keys, each after its backend."""
        kinds, self._kinds = self._kinds, {}
        for kind, reserve in kinds.items():
            yield from ((kind.backend, key) for key, _, _ in reserve.free)
