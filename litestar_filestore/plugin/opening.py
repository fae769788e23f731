"""The time in which an application's backends are registered and open."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from litestar_filestore.core.threads import within
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, StorageError, StorageFullError
from litestar_filestore.orm.deletes import retry_deletes_async
from litestar_filestore.plugin.finding import LONGEST_PAUSE_SECONDS, look_again

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.registry import StorageRegistry

__all__ = ("open_backends",)

logger = logging.getLogger("litestar_filestore")

_START_SECONDS = 5.0
"""So long an application's start waits for a store that does not answer."""
_END_SECONDS = 5.0
"""So long its end waits for all of them together."""
_LEAST_SECONDS = 0.5
"""Of that time, what is left at least for one that comes late."""
_OUTAGES = (BackendUnavailableError, StorageFullError)


@dataclass
class _Holding:
    """One key of a registry while running applications use it."""

    backend: StorageBackend
    previous: StorageBackend | None
    holders: int = 0


_holdings: WeakKeyDictionary[StorageRegistry, dict[str, _Holding]] = WeakKeyDictionary()


@asynccontextmanager
async def open_backends(
    registry: StorageRegistry, backends: Sequence[StorageBackend], *, serves: bool = False
) -> AsyncGenerator[None]:
    """Register and start backends in order; on exit close them in reverse and make the registry what it was.

    Several applications of one process may hold the same backend object at a time. Two different backends under one
    key are refused: columns look a backend up by its key, so the files of one application would go to the other's
    place.

    Args:
        registry: Where to register them.
        backends: Which.
        serves: Whether somebody is served meanwhile, who can do without a store for a while. Then one that is away, or
            does not answer within some seconds, is logged and looked for again. What is wrong with the set-up is an
            error in any case.

    Raises:
        ConfigurationError: If another running application has registered a different backend under one of the keys.
        StorageError: If a backend cannot be started; those that were started are closed again.
        ExceptionGroup: If closing fails more than once, or beside an error of the body. Every backend is closed.
    """
    failures: list[Exception] = []
    end = _End()
    # A stack, because a cancelled close must not keep the others from being closed.
    async with AsyncExitStack() as stack:
        try:
            for backend in backends:
                _hold(registry, backend)
                stack.callback(_release, registry, backend)
                looking = await _start(backend, serves=serves)
                stack.push_async_callback(_close, backend, failures, end)
                if looking is not None:
                    stack.push_async_callback(_stop, looking, end)
            stack.push_async_callback(_retry_deletes, end)
            yield
        except Exception as error:  # noqa: BLE001  # raised below, together with what closing adds
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("Storage backends failed", failures)


async def _start(backend: StorageBackend, *, serves: bool) -> asyncio.Task[None] | None:
    """Start a backend. If its store is away and somebody is served, return what looks for it from now on."""
    if not serves:
        await backend.start_async()
        return None
    try:
        await _start_soon(backend)
    except _OUTAGES as error:
        logger.warning(
            "The store of %r is away. The application starts without it and looks again; until then requests that need "
            "it are answered 503: %s",
            backend.key,
            error,
        )
        return asyncio.create_task(look_again(_Look(backend), asyncio.Event()), name="litestar-filestore store")
    return None


async def _start_soon(backend: StorageBackend) -> None:
    try:
        await within(_START_SECONDS, backend.start_async())
    except TimeoutError as error:
        raise BackendUnavailableError(
            f"The store did not answer within {_START_SECONDS:g} s; try again later",
            operation="start",
            backend=backend.key,
        ) from error


class _Look:
    """Looks whether a store that was away is back."""

    def __init__(self, backend: StorageBackend) -> None:
        self._backend = backend
        self._said = ""

    async def __call__(self) -> float:
        """Look, and return the longest pause before the next look; 0 if it is back."""
        try:
            await _start_soon(self._backend)
        except _OUTAGES as error:
            logger.debug("The store of %r is still away: %s", self._backend.key, error)
            return LONGEST_PAUSE_SECONDS
        except StorageError as error:
            # It answers now, and what it says would have kept the application from starting.
            if str(error) != self._said:
                self._said = str(error)
                logger.error("The store of %r is back, but cannot be used: %s", self._backend.key, error)  # noqa: TRY400
            return LONGEST_PAUSE_SECONDS
        logger.warning("The store of %r is back", self._backend.key)  # who was told of the outage wants to know
        return 0.0


class _End:
    """The time that is left for everything that happens when backends are closed."""

    def __init__(self) -> None:
        self._ends_at: float | None = None

    async def wait(self, awaitable: Awaitable[object], what: str) -> None:
        """Await a step, and go on without it where it does not end."""
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + _END_SECONDS
        try:
            await within(max(_LEAST_SECONDS, self._ends_at - now), awaitable)
        except TimeoutError:
            logger.warning("%s has not ended in time; the application ends without it", what)


async def _stop(looking: asyncio.Task[None], end: _End) -> None:
    looking.cancel()
    await end.wait(asyncio.wait({looking}), "Looking for a store")


async def _retry_deletes(end: _End) -> None:
    await end.wait(retry_deletes_async(), "Deleting what could not be deleted before")


async def _close(backend: StorageBackend, failures: list[Exception], end: _End) -> None:
    try:
        await end.wait(backend.close_async(), f"Closing {backend.key!r}")
    except Exception as error:  # noqa: BLE001  # raised when the other backends are closed as well
        failures.append(error)


def _hold(registry: StorageRegistry, backend: StorageBackend) -> None:
    holdings = _holdings.setdefault(registry, {})
    holding = holdings.get(backend.key)
    if holding is None:
        previous = registry.get_backend(backend.key) if backend.key in registry else None
        holding = holdings[backend.key] = _Holding(backend, previous)
        registry.register_backend(backend)
    elif holding.backend is not backend:
        raise ConfigurationError(
            "Another running application of this process uses this key for a different backend in the same registry: "
            "rename one of them, or share the backend",
            operation="start",
            backend=backend.key,
        )
    holding.holders += 1


def _release(registry: StorageRegistry, backend: StorageBackend) -> None:
    holdings = _holdings[registry]
    holding = holdings[backend.key]
    holding.holders -= 1
    if holding.holders:
        return
    del holdings[backend.key]
    if backend.key not in registry or registry.get_backend(backend.key) is not backend:
        return  # somebody has registered another one on purpose meanwhile
    if holding.previous is None:
        registry.unregister_backend(backend.key)
    else:
        registry.register_backend(holding.previous)
