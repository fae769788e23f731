"""The one place where exceptions of storage libraries become errors of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.errors import StorageError

if TYPE_CHECKING:
    from types import TracebackType

    from litestar_filestore.core.driver import Driver
    from litestar_filestore.core.sources import AsyncFeed, Feed

__all__ = ("Guard",)


class Guard:
    """Wraps one operation: what its driver raises comes out with operation, backend and key, and its cause chained."""

    __slots__ = ("_backend", "_driver", "_feed", "_key", "_operation")

    def __init__(
        self, driver: Driver, backend: str, operation: str, key: str | None, feed: Feed | AsyncFeed | None = None
    ) -> None:
        """Guard `operation` of `driver` on `key`; errors of `feed`'s source pass through as they were raised."""
        self._driver = driver
        self._backend = backend
        self._operation = operation
        self._key = key
        self._feed = feed

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Translate an ``Exception``; let cancellation and exit pass."""
        if not isinstance(error, Exception):
            return
        failure = self._feed.failure if self._feed is not None else None
        if failure is not None:
            # The source broke. Libraries wrap that in errors of their own; the caller wants the original.
            self._place(failure)
            if failure is not error:
                raise failure from None
            return
        translated = error if isinstance(error, StorageError) else self._driver.translate(error)
        if translated is None:
            return
        self._place(translated)
        if translated is not error:
            raise translated from error

    def _place(self, error: Exception) -> None:
        if isinstance(error, StorageError):
            error.operation = error.operation or self._operation
            error.backend = error.backend or self._backend
            error.key = self._key if self._key is not None else error.key
