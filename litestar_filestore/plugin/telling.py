"""Tells an application's watchers, and the listeners of Litestar, what happens to its files."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from litestar_filestore.core.backend import Guard, WatchedGuard
from litestar_filestore.core.file_events import FileDoomed, FileLinked
from litestar_filestore.core.watching import watched_by, watchers

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar import Litestar

    from litestar_filestore.core.file_events import Event
    from litestar_filestore.core.watching import Watcher
    from litestar_filestore.plugin.config import FilestoreConfig

__all__ = ("telling",)

_NAMES: dict[type[Event], str] = {FileLinked: "filestore.linked", FileDoomed: "filestore.doomed"}
"""Events that are told after a commit, by the names under which listeners of Litestar wait for them."""


@contextmanager
def telling(app: Litestar, config: FilestoreConfig) -> Generator[None]:
    """Return a context in which the events of an application's backends are told.

    Without watchers and listeners it does nothing, and nothing is measured.
    """
    ours = list(config.watchers)
    with ExitStack() as stack:
        if ours:
            stack.callback(_end_watching, config)
            for backend in config.backends:
                backend.guards = WatchedGuard
        if any(name in app.event_emitter.listeners for name in _NAMES.values()):
            ours.append(_Emitter(app))
        for watcher in ours:
            stack.enter_context(watched_by(_Filter(watcher, config)))
        yield


def _end_watching(config: FilestoreConfig) -> None:
    if not watchers:  # otherwise another application may share a backend
        for backend in config.backends:
            backend.guards = Guard


class _Filter:
    """Passes on what concerns one application: several may run in a process."""

    def __init__(self, watcher: Watcher, config: FilestoreConfig) -> None:
        self._watcher = watcher
        self._keys = {backend.key for backend in config.backends}

    def __call__(self, event: Event) -> None:
        key = getattr(event, "backend", "")
        if not key or not self._keys or key in self._keys:
            self._watcher(event)


class _Emitter:
    """Hands events to the listeners of Litestar, on its event loop: a commit may come from any thread."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()

    def __call__(self, event: Event) -> None:
        name = _NAMES.get(type(event), "")
        if name in self._app.event_emitter.listeners:
            # A commit of a thread that outlives the application has nobody to tell.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._emit, name, event)

    def _emit(self, name: str, event: Event) -> None:
        with suppress(RuntimeError):  # Litestar's, when its emitter has been closed meanwhile
            self._app.emit(name, event)
