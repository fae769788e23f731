"""What the fixture `filestore` gives to a test."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio

from litestar_filestore.backends.memory import MemoryBackend, MemoryDriver
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import storages
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError, ObjectNotFoundError
from litestar_filestore.testing.faults import Fault, FaultyDriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.core.types import ObjectInfo

__all__ = ("FakeClock", "Filestore")

_POLL_SECONDS = 0.02
_GONE_SECONDS = 10.0
"""How long a deleted file may take: a sweep begins up to a second after the commit."""
_SHOWN = 10


class FakeClock:
    """The time for links: the real one, and what a test has added to it. The ledger's times are its database's."""

    def __init__(self) -> None:
        """Start with the real time."""
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return POSIX seconds (UTC)."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds

    def reset(self) -> None:
        """Return to the real time."""
        self._ahead = 0.0


class Filestore:
    """Files for one test. As a context manager it undoes everything at the end, the registry included."""

    def __init__(self) -> None:
        """Prepare; nothing is changed yet."""
        self.clock = FakeClock()
        """The time for links of the applications that `use` has prepared."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin with an empty registry; what the program has registered comes back at the end."""
        before = storages.all()
        self._stack.callback(self.clock.reset)
        self._stack.callback(_restore, before)
        storages.clear_backends()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo everything."""
        self._stack.close()

    def backend(self, key: str = "documents", **options: Any) -> MemoryBackend:
        """Register an empty backend in memory for this test, and return it.

        Args:
            key: Its key.
            **options: See `StorageBackend`.
        """
        made = MemoryBackend(key, **options)
        storages.register_backend(made)
        return made

    def use(self, app: Any) -> None:
        """Let an application keep its files in memory, and read the time for links from `clock`, in this test.

        Its backends keep their keys and settings, so nothing of the application has to be changed. Call this before the
        application starts.

        Args:
            app: A `Litestar` application with `FilestorePlugin`.

        Raises:
            ConfigurationError: If it has no such plugin.
        """
        found: list[Any] = [getattr(plugin, "config", None) for plugin in app.plugins]
        configs = [config for config in found if hasattr(config, "signer")]
        if not configs:
            raise ConfigurationError("This application has no FilestorePlugin: add it to plugins=[...]")
        for config in configs:
            if config.signer is not None:
                self._stack.callback(setattr, config.signer, "clock", config.signer.clock)
                config.signer.clock = self.clock
            for backend in config.backends:
                storages.register_backend(backend)
                self._drive(backend, MemoryDriver())

    def fail(self, backend: StorageBackend | str, *plan: Fault) -> FaultyDriver:
        """Let a backend fail as planned from now on, and return the driver that does, which records the calls."""
        found = storages[backend] if isinstance(backend, str) else backend
        faulty = FaultyDriver(found.storage_driver, plan)
        self._drive(found, faulty)
        return faulty

    def _drive(self, backend: StorageBackend, driver: Driver) -> None:
        self._stack.enter_context(backend.driven_by(driver))

    def stored(self, backend: StorageBackend | str) -> list[ObjectInfo]:
        """Return what is stored in a backend, sorted by key."""
        found = storages[backend] if isinstance(backend, str) else backend
        return sorted(found.list(), key=lambda info: info.key)

    def assert_stored(self, where: FileObject | StorageBackend | str, content: bytes | None = None) -> bytes:
        """Make sure that something is stored, and return its content.

        Args:
            where: A file; or a backend or its key, if the test does not know the file: then one object has to have
                `content`, or there has to be exactly one.
            content: What has to be stored; ``None`` for anything.
        """
        __tracebackhide__ = True
        if isinstance(where, FileObject):
            return _checked(where, content)
        found = storages[where] if isinstance(where, str) else where
        infos = self.stored(found)
        contents = (b"".join(found.get(info.key)) for info in infos)
        if content is None and len(infos) == 1:
            return next(contents)
        if content is None or content not in contents:
            wanted = "one object" if content is None else f"an object with the content {content[:40]!r}"
            raise AssertionError(f"Wanted {wanted} in {found.key!r}, where there is {_told(infos)}")
        return content

    def assert_gone(self, where: FileObject | StorageBackend | str, *, within_seconds: float = _GONE_SECONDS) -> None:
        """Make sure that a file has no object, or that a backend is empty; wait if it has to be swept first.

        Not on the event loop of the application: there, use `assert_gone_async`.
        """
        __tracebackhide__ = True
        for _ in self._until_gone(where, within_seconds):
            time.sleep(_POLL_SECONDS)

    async def assert_gone_async(
        self, where: FileObject | StorageBackend | str, *, within_seconds: float = _GONE_SECONDS
    ) -> None:
        """`assert_gone` without blocking the event loop."""
        __tracebackhide__ = True
        for _ in self._until_gone(where, within_seconds):
            await anyio.sleep(_POLL_SECONDS)

    def _until_gone(self, where: FileObject | StorageBackend | str, seconds: float) -> Iterator[None]:
        __tracebackhide__ = True
        deadline = time.monotonic() + seconds
        while (left := self._left(where)) is not None:
            if time.monotonic() >= deadline:
                raise AssertionError(f"Wanted nothing after {seconds:g} s, and there is {left}")
            yield

    def _left(self, where: FileObject | StorageBackend | str) -> str | None:
        if isinstance(where, FileObject):
            return f"still {where!r}" if where.key is not None and where.exists() else None
        infos = self.stored(where)
        return _told(infos) if infos else None


def _checked(file: FileObject, content: bytes | None) -> bytes:
    __tracebackhide__ = True
    try:
        found = file.get_content()
    except (ObjectNotFoundError, InvalidArgumentError) as error:
        raise AssertionError(f"{file!r} is not stored: {error}") from error
    if content is not None and found != content:
        raise AssertionError(f"{file!r} holds {found[:40]!r} ({len(found)} bytes), not {content[:40]!r}")
    return found


def _told(infos: list[ObjectInfo]) -> str:
    if not infos:
        return "nothing"
    shown = ", ".join(f"{info.key} ({info.size} bytes)" for info in infos[:_SHOWN])
    return shown if len(infos) <= _SHOWN else f"{shown} and {len(infos) - _SHOWN} more"


def _restore(backends: list[StorageBackend]) -> None:
    storages.clear_backends()
    for backend in backends:
        storages.register_backend(backend)
