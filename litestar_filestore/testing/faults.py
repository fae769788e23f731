"""Planned faults: a driver around a real one that fails, waits or cuts content short as planned.

Use it to test what an application does when its store does not work::

    backend = FaultyBackend(storages["documents"], [Fault("put", BackendUnavailableError("down"), call=2)])
    storages.register_backend(backend)

Everything that is not in the plan goes to the real driver, and ``backend.faulty.calls`` records every call.
"""

from __future__ import annotations

import threading
import time
from contextlib import aclosing, asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

import anyio

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.types import Block

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from litestar_filestore.core.types import (
        FormPolicy,
        ObjectInfo,
        Part,
        PutOptions,
        SignedAnswer,
        SignedForm,
        SignMethod,
    )
    from litestar_filestore.errors import StorageError

__all__ = ("Call", "Fault", "FaultyBackend", "FaultyDriver", "Operation")

Operation: TypeAlias = Literal[
    "put",
    "get",
    "head",
    "delete",
    "list",
    "copy",
    "sign",
    "local_path",
    "clean",
    "begin_parts",
    "put_part",
    "finish_parts",
    "abandon_parts",
    "sign_part",
    "list_parts",
    "sign_form",
]
"""Operations that can fail. The sync and the async form of an operation count as one."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Without `after_effect` and `after_bytes` it happens before the real driver is called.
    """

    operation: Operation
    """The operation that fails."""
    error: Exception | None = None
    """Error to raise, a copy each time; ``None`` raises nothing, for faults that only wait or cut content short."""
    call: int = 1
    """Number of the call that fails, counted from 1 for this driver."""
    times: int | None = 1
    """Number of calls that fail from that one on; ``None`` for all."""
    delay_seconds: float = 0.0
    """Wait this long before anything else."""
    after_effect: bool = False
    """Let the real driver do its work first, then fail, as if the response was lost."""
    after_bytes: int | None = None
    """For ``put``, ``put_part`` and ``get``: fail after so many bytes have passed. Without an `error` a get just ends
    there, as if the object were shorter, and a put stores what it has so far."""

    def hits(self, operation: str, call: int) -> bool:
        """Return whether this fault belongs to the call with that number."""
        last = None if self.times is None else self.call + self.times
        return self.operation == operation and call >= self.call and (last is None or call < last)


@dataclass(frozen=True)
class Call:
    """One call of a driver."""

    operation: str
    """Name without ``_async``."""
    paths: tuple[str, ...]
    """Keys with their prefix; for ``list`` the prefix, for ``copy`` source and target."""
    is_async: bool
    """Whether it was the ``_async`` form."""
    details: tuple[object, ...] = ()
    """The other arguments: start and end of ``get``, options of ``put``, `overwrite` of ``copy`` and so on."""


class FaultyDriver(Driver):
    """Wraps `driver` and fails as planned. Thread-safe as far as the driver is."""

    name: ClassVar[str] = "faulty"

    def __init__(self, driver: Driver, plan: Iterable[Fault] = ()) -> None:
        """Wrap `driver`.

        Args:
            driver: A real driver; everything that the plan does not mention goes to it.
            plan: What fails. If several faults hit one call, all their delays and the first of their errors count.
        """
        self.wrapped = driver
        """The real driver."""
        self.protocol = driver.protocol
        self.capabilities = driver.capabilities
        self.part_buffers = driver.part_buffers
        self.part_limits = driver.part_limits
        self.plan: list[Fault] = list(plan)
        """The faults; may be changed at any time."""
        self.calls: list[Call] = []
        """Every call so far, in the order in which they began."""
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Where the real driver keeps its objects."""
        return self.wrapped.place

    def _outcome(self, call: Call) -> _Outcome:
        with self._lock:
            self.calls.append(call)
            number = sum(each.operation == call.operation for each in self.calls)
            return _Outcome(tuple(fault for fault in self.plan if fault.hits(call.operation, number)))

    @contextmanager
    def _call(
        self, operation: Operation, *paths: str, details: tuple[object, ...] = ()
    ) -> Generator[_Outcome, None, None]:
        outcome = self._outcome(Call(operation, paths, is_async=False, details=details))
        if outcome.delay_seconds:
            time.sleep(outcome.delay_seconds)
        outcome.begin()
        yield outcome
        outcome.end()

    @asynccontextmanager
    async def _call_async(
        self, operation: Operation, *paths: str, details: tuple[object, ...] = ()
    ) -> AsyncGenerator[_Outcome, None]:
        outcome = self._outcome(Call(operation, paths, is_async=True, details=details))
        if outcome.delay_seconds:
            await anyio.sleep(outcome.delay_seconds)
        outcome.begin()
        yield outcome
        outcome.end()

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Put through the real driver; a cut ends or breaks the content."""
        with self._call("put", path, details=(options,)) as outcome:
            return self.wrapped.put(path, _cut(blocks, outcome), options)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put through the real driver; a cut ends or breaks the content."""
        async with self._call_async("put", path, details=(options,)) as outcome:
            return await self.wrapped.put_async(path, _cut_async(blocks, outcome), options)

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Get from the real driver; a cut ends or breaks the stream."""
        with self._call("get", path, details=(start, end)) as outcome:
            yield from _cut(self.wrapped.get(path, start, end), outcome)

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Get from the real driver; a cut ends or breaks the stream."""
        async with (
            self._call_async("get", path, details=(start, end)) as outcome,
            aclosing(self.wrapped.get_async(path, start, end)) as blocks,
        ):
            async for block in _cut_async(blocks, outcome):
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

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Begin through the real driver."""
        async with self._call_async("begin_parts", path, details=(options,)):
            return await self.wrapped.begin_parts_async(path, options)

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Put a part through the real driver; a cut ends or breaks the content."""
        async with self._call_async("put_part", path, details=(upload, number, offset)) as outcome:
            cut = _cut_async(blocks, outcome)
            return await self.wrapped.put_part_async(path, upload, number, offset, cut, size=size)

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Finish through the real driver."""
        async with self._call_async("finish_parts", path, details=(upload, *parts)):
            return await self.wrapped.finish_parts_async(path, upload, parts, options)

    def abandon_parts(self, path: str, upload: str) -> None:
        """Abandon through the real driver."""
        with self._call("abandon_parts", path, details=(upload,)):
            self.wrapped.abandon_parts(path, upload)

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """Abandon through the real driver."""
        async with self._call_async("abandon_parts", path, details=(upload,)):
            await self.wrapped.abandon_parts_async(path, upload)

    async def sign_part_async(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Sign with the real driver."""
        async with self._call_async("sign_part", path, details=(upload, number, expires_in, size)):
            return await self.wrapped.sign_part_async(path, upload, number, expires_in=expires_in, size=size)

    async def list_parts_async(self, path: str, upload: str) -> Sequence[Part]:
        """List through the real driver."""
        async with self._call_async("list_parts", path, details=(upload,)):
            return await self.wrapped.list_parts_async(path, upload)

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Ask the real driver."""
        return await self.wrapped.cors_async(rules)

    async def sign_form_async(self, path: str, policy: FormPolicy) -> SignedForm:
        """Sign with the real driver."""
        async with self._call_async("sign_form", path, details=(policy,)):
            return await self.wrapped.sign_form_async(path, policy)

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
        """Translate like the real driver, so that a planned library error is treated like a real one."""
        return self.wrapped.translate(error)


class FaultyBackend(StorageBackend):
    """A backend with the key, settings and objects of another one, and a `FaultyDriver` in between."""

    def __init__(self, backend: StorageBackend, plan: Iterable[Fault] = ()) -> None:
        """Stand in for `backend`.

        Args:
            backend: The backend to take everything from; it still works by itself.
            plan: What fails.
        """
        self.faulty = FaultyDriver(backend.storage_driver, plan)
        """The driver; change its `plan` and inspect its `calls`."""
        super().__init__(
            backend.key,
            driver=self.faulty,
            prefix=backend.prefix,
            key_template=backend.key_template,
            digest=backend.digest,
            max_bytes=backend.max_bytes,
            base_url=backend.base_url,
        )


BlockT = TypeVar("BlockT", bytes, Block)


@dataclass(frozen=True)
class _Outcome:
    """The faults of one call."""

    hits: tuple[Fault, ...]

    @property
    def delay_seconds(self) -> float:
        """Seconds that the call waits first."""
        return sum(fault.delay_seconds for fault in self.hits)

    def begin(self) -> None:
        """Raise what fails the call before its effect."""
        self._raise([fault for fault in self.hits if not fault.after_effect and fault.after_bytes is None])

    def end(self) -> None:
        """Raise what fails the call after its effect."""
        self._raise([fault for fault in self.hits if fault.after_effect])

    def limit(self) -> int | None:
        """Return how many bytes pass before the content is cut, or ``None``."""
        return min((fault.after_bytes for fault in self.hits if fault.after_bytes is not None), default=None)

    def cut(self) -> None:
        """Raise what breaks the content, unless it should just end."""
        self._raise([fault for fault in self.hits if fault.after_bytes is not None])

    @staticmethod
    def _raise(faults: list[Fault]) -> None:
        for fault in faults:
            if fault.error is not None:
                raise copy(fault.error)  # what is raised gets a place and a trace, which the next call must not see


class _Budget:
    """Bytes that may still pass before the cut."""

    def __init__(self, limit: int) -> None:
        self.rest = limit

    def take(self, block: BlockT) -> BlockT:
        part = block[: self.rest]
        self.rest -= len(part)
        return part


def _cut(blocks: Iterator[BlockT], outcome: _Outcome) -> Iterator[BlockT]:
    """Pass `blocks` on up to the limit of `outcome`, then raise its error or just end."""
    limit = outcome.limit()
    if limit is None:
        yield from blocks
        return
    budget = _Budget(limit)
    while budget.rest:
        try:
            block = next(blocks)
        except StopIteration:
            return
        yield budget.take(block)
    outcome.cut()


async def _cut_async(blocks: AsyncIterator[BlockT], outcome: _Outcome) -> AsyncGenerator[BlockT, None]:
    """Do the same for the async half."""
    limit = outcome.limit()
    if limit is None:
        async for block in blocks:
            yield block
        return
    budget = _Budget(limit)
    while budget.rest:
        try:
            block = await anext(blocks)
        except StopAsyncIteration:
            return
        yield budget.take(block)
    outcome.cut()
