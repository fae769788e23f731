"""Faults on purpose: a driver around a real one that fails, waits or cuts short when it is told to.

Use it to test what an application does when its store does not work::

    backend = FaultyBackend(storages["documents"], [Fault("put", BackendUnavailableError("down"), call=2)])
    storages.register_backend(backend)

Everything that is not in the plan goes through to the real driver, and ``backend.faulty.calls`` tells what was asked of
it.
"""

from __future__ import annotations

import threading
import time
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, ClassVar

import anyio

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.testing.fault_plan import Call, Fault, Operation, Outcome, cut, cut_async

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from litestar_filestore.core.types import Block, ObjectInfo, PutOptions, SignedAnswer, SignMethod
    from litestar_filestore.errors import StorageError

__all__ = ("Call", "Fault", "FaultyBackend", "FaultyDriver", "Operation")


class FaultyDriver(Driver):
    """Wraps `driver` and fails as planned. Thread-safe as far as the driver is."""

    name: ClassVar[str] = "faulty"

    def __init__(self, driver: Driver, plan: Iterable[Fault] = ()) -> None:
        """Wrap `driver`.

        Args:
            driver: A real one; what the plan does not mention goes through to it.
            plan: What fails. Where several faults hit one call, all of their delays and the first of their errors
                count.
        """
        self.wrapped = driver
        """The real driver."""
        self.protocol = driver.protocol
        self.capabilities = driver.capabilities
        self.part_buffers = driver.part_buffers
        self.plan: list[Fault] = list(plan)
        """What fails; may be changed at any time."""
        self.calls: list[Call] = []
        """Every call so far, in the order in which they began."""
        self._lock = threading.Lock()

    def _outcome(self, call: Call) -> Outcome:
        with self._lock:
            self.calls.append(call)
            number = sum(each.operation == call.operation for each in self.calls)
            return Outcome(tuple(fault for fault in self.plan if fault.hits(call.operation, number)))

    @contextmanager
    def _call(
        self, operation: Operation, *paths: str, details: tuple[object, ...] = ()
    ) -> Generator[Outcome, None, None]:
        outcome = self._outcome(Call(operation, paths, is_async=False, details=details))
        if outcome.delay_seconds:
            time.sleep(outcome.delay_seconds)
        outcome.begin()
        yield outcome
        outcome.end()

    @asynccontextmanager
    async def _call_async(
        self, operation: Operation, *paths: str, details: tuple[object, ...] = ()
    ) -> AsyncGenerator[Outcome, None]:
        outcome = self._outcome(Call(operation, paths, is_async=True, details=details))
        if outcome.delay_seconds:
            await anyio.sleep(outcome.delay_seconds)
        outcome.begin()
        yield outcome
        outcome.end()

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Put through the real driver; a cut ends or breaks the content."""
        with self._call("put", path, details=(options,)) as outcome:
            return self.wrapped.put(path, cut(blocks, outcome), options)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put through the real driver; a cut ends or breaks the content."""
        async with self._call_async("put", path, details=(options,)) as outcome:
            return await self.wrapped.put_async(path, cut_async(blocks, outcome), options)

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Get from the real driver; a cut ends or breaks the stream."""
        with self._call("get", path, details=(start, end)) as outcome:
            yield from cut(self.wrapped.get(path, start, end), outcome)

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Get from the real driver; a cut ends or breaks the stream."""
        async with (
            self._call_async("get", path, details=(start, end)) as outcome,
            aclosing(self.wrapped.get_async(path, start, end)) as blocks,
        ):
            async for block in cut_async(blocks, outcome):
                yield block

    def head(self, path: str) -> ObjectInfo:
        """Ask the real driver."""
        with self._call("head", path):
            return self.wrapped.head(path)

    async def head_async(self, path: str) -> ObjectInfo:
        """Ask the real driver."""
        async with self._call_async("head", path):
            return await self.wrapped.head_async(path)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete through the real driver."""
        with self._call("delete", *paths):
            self.wrapped.delete(paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Delete through the real driver."""
        async with self._call_async("delete", *paths):
            await self.wrapped.delete_async(paths)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List from the real driver."""
        with self._call("list", prefix):
            yield from self.wrapped.list(prefix)

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """List from the real driver."""
        async with self._call_async("list", prefix), aclosing(self.wrapped.list_async(prefix)) as infos:
            async for info in infos:
                yield info

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy through the real driver."""
        with self._call("copy", source, target, details=(overwrite,)):
            self.wrapped.copy(source, target, overwrite=overwrite)

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy through the real driver."""
        async with self._call_async("copy", source, target, details=(overwrite,)):
            await self.wrapped.copy_async(source, target, overwrite=overwrite)

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Sign through the real driver."""
        with self._call("sign", path, details=(method, expires_in)):
            return self.wrapped.sign(path, method=method, expires_in=expires_in)

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Sign through the real driver."""
        async with self._call_async("sign", path, details=(method, expires_in)):
            return await self.wrapped.sign_async(path, method=method, expires_in=expires_in)

    def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Sign through the real driver."""
        with self._call("sign", path, details=("GET", answer.expires_in)):
            return self.wrapped.sign_answer(path, answer)

    async def sign_answer_async(self, path: str, answer: SignedAnswer) -> str:
        """Sign through the real driver."""
        async with self._call_async("sign", path, details=("GET", answer.expires_in)):
            return await self.wrapped.sign_answer_async(path, answer)

    def local_path(self, path: str) -> Path:
        """Ask the real driver; recorded like the others."""
        with self._call("local_path", path):
            return self.wrapped.local_path(path)

    def start(self) -> None:
        """Start the real driver."""
        self.wrapped.start()

    async def start_async(self) -> None:
        """Start the real driver."""
        await self.wrapped.start_async()

    def close(self) -> None:
        """Close the real driver."""
        self.wrapped.close()

    async def close_async(self) -> None:
        """Close the real driver."""
        await self.wrapped.close_async()

    def clean(self, older_than: float) -> int:
        """Clean up through the real driver."""
        with self._call("clean", details=(older_than,)):
            return self.wrapped.clean(older_than)

    async def clean_async(self, older_than: float) -> int:
        """Clean up through the real driver."""
        async with self._call_async("clean", details=(older_than,)):
            return await self.wrapped.clean_async(older_than)

    def translate(self, error: Exception) -> StorageError | None:
        """Translate as the real driver does, so that a planned library error is taken for a real one."""
        return self.wrapped.translate(error)


class FaultyBackend(StorageBackend):
    """A backend with key, settings and objects of another one, and a `FaultyDriver` in between."""

    def __init__(self, backend: StorageBackend, plan: Iterable[Fault] = ()) -> None:
        """Stand in for `backend`.

        Args:
            backend: The one to take everything from; it goes on working by itself.
            plan: What fails.
        """
        self.faulty = FaultyDriver(backend.storage_driver, plan)
        """The driver: its `plan` may be changed, its `calls` be looked at."""
        super().__init__(
            backend.key,
            driver=self.faulty,
            prefix=backend.prefix,
            key_template=backend.key_template,
            digest=backend.digest,
            max_bytes=backend.max_bytes,
            base_url=backend.base_url,
        )
