"""The time in which an application's backends are registered and open."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.orm.deletes import retry_deletes_async

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.registry import StorageRegistry

__all__ = ("open_backends",)


@dataclass
class _Holding:
    """One key of a registry while running applications use it."""

    backend: StorageBackend
    previous: StorageBackend | None
    holders: int = 0


_holdings: WeakKeyDictionary[StorageRegistry, dict[str, _Holding]] = WeakKeyDictionary()


@asynccontextmanager
async def open_backends(registry: StorageRegistry, backends: Sequence[StorageBackend]) -> AsyncGenerator[None]:
    """Register and start backends in order; on exit close them in reverse and make the registry what it was.

    Several applications of one process may hold the same backend object at a time. Two different backends under one
    key are refused: columns look a backend up by its key, so the files of one application would go to the other's
    place.

    Raises:
        ConfigurationError: If another running application has registered a different backend under one of the keys.
        StorageError: If a backend cannot be started; those that were started are closed again.
        ExceptionGroup: If closing fails more than once, or beside an error of the body. Every backend is closed.
    """
    failures: list[Exception] = []
    # A stack, because a cancelled close must not keep the others from being closed.
    async with AsyncExitStack() as stack:
        try:
            for backend in backends:
                _hold(registry, backend)
                stack.callback(_release, registry, backend)
                await backend.start_async()
                stack.push_async_callback(_close, backend, failures)
            stack.push_async_callback(retry_deletes_async)
            yield
        except Exception as error:  # noqa: BLE001  # raised below, together with what closing adds
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("Storage backends failed", failures)


async def _close(backend: StorageBackend, failures: list[Exception]) -> None:
    try:
        await backend.close_async()
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
