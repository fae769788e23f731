"""The two halves of a backend under one set of names, so that one test covers both.

`AsyncHalf` calls the methods with the suffix ``_async`` on the event loop. `SyncHalf` calls those without it, each in a
worker thread, as an application's sync code does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import AsyncSource, ObjectInfo

__all__ = ("AsyncHalf", "Gate", "SyncHalf")

T = TypeVar("T")

GATE_SECONDS = 30.0
"""A thread that waits longer than this at a gate was forgotten there and fails."""


class Gate:
    """A point in a source where a put waits while the test inspects the store. Belongs to the running event loop."""

    def __init__(self) -> None:
        """Begin closed."""
        self._loop = asyncio.get_running_loop()
        self._open = asyncio.Event()
        self._open_for_threads = threading.Event()
        self.reached = asyncio.Event()
        """Set as soon as the put waits here."""

    def open(self) -> None:
        """Let the put go on."""
        self._open.set()
        self._open_for_threads.set()

    def blocks(self, *, before: bytes, after: bytes) -> Iterator[bytes]:
        """Yield `before`, wait in this thread, yield `after`.

        Raises:
            TimeoutError: If nobody opens the gate.
        """
        yield before
        self._loop.call_soon_threadsafe(self.reached.set)
        if not self._open_for_threads.wait(GATE_SECONDS):
            raise TimeoutError(f"The gate was not opened within {GATE_SECONDS} seconds: open it in the test")
        yield after

    async def blocks_async(self, *, before: bytes, after: bytes) -> AsyncGenerator[bytes, None]:
        """Yield `before`, wait on the event loop, yield `after`."""
        yield before
        self.reached.set()
        await self._open.wait()
        yield after


class AsyncHalf:
    """The async half of `backend`, and a folder in it that nobody else uses."""

    def __init__(self, backend: StorageBackend, folder: str) -> None:
        """Use `backend`, with keys below `folder`."""
        self.backend = backend
        self.folder = folder

    def key(self, name: str) -> str:
        """Return the key of `name` in the folder."""
        return f"{self.folder}/{name}"

    async def put(self, source: AsyncSource, **options: Any) -> ObjectInfo:
        """Store `source` with the options of `StorageBackend.put`."""
        return await self.backend.put_async(source, **options)

    async def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the blocks of a range."""
        async with aclosing(self.backend.get_async(key, start, end)) as blocks:
            async for block in blocks:
                yield block

    async def head(self, key: str) -> ObjectInfo:
        """Look an object up."""
        return await self.backend.head_async(key)

    async def exists(self, key: str) -> bool:
        """Ask for an object."""
        return await self.backend.exists_async(key)

    async def delete(self, key: str | Sequence[str]) -> None:
        """Delete one object or several."""
        await self.backend.delete_async(key)

    async def listing(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        """Yield the infos below `prefix`."""
        async with aclosing(self.backend.list_async(prefix)) as infos:
            async for info in infos:
                yield info

    async def copy(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """Copy an object."""
        return await self.backend.copy_async(source, target, overwrite=overwrite)

    async def sign(self, keys: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        """Make a signed URL, or a list of them."""
        return await self.backend.sign_async(keys, expires_in=expires_in, for_upload=for_upload)

    async def clean(self, *, older_than: float) -> int:
        """Remove what interrupted puts left."""
        return await self.backend.clean_async(older_than=older_than)

    def gated(self, gate: Gate, *, before: bytes, after: bytes) -> AsyncSource:
        """Make a source of this half's kind that stops at `gate`."""
        return gate.blocks_async(before=before, after=after)

    # -- shorthands

    async def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Return a range as a whole."""
        return b"".join([block async for block in self.get(key, start, end)])

    async def names(self, prefix: str = "") -> list[str]:
        """Return the keys in the folder, or below `prefix` in it, without the folder and sorted."""
        below = f"{self.folder}/{prefix}" if prefix else self.folder
        return sorted([info.key.removeprefix(f"{self.folder}/") async for info in self.listing(below)])

    @asynccontextmanager
    async def stopped_put(
        self, key: str, *, before: bytes, after: bytes
    ) -> AsyncGenerator[asyncio.Task[ObjectInfo], None]:
        """Begin to overwrite `key` and stop between `before` and `after`; go on when the block ends.

        Yields:
            The put. The block may cancel it, and then awaits it itself.
        """
        gate = Gate()
        source = self.gated(gate, before=before, after=after)
        put = asyncio.create_task(self.put(source, key=key, overwrite=True))
        reached = asyncio.create_task(gate.reached.wait())
        await asyncio.wait({put, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if put.done():
            put.result()
            raise AssertionError("the put returned without reading its source to the end")
        try:
            yield put
        finally:
            gate.open()
            if not put.done():
                await put


class SyncHalf(AsyncHalf):
    """The sync half of `backend` under the names of the async one."""

    @staticmethod
    async def _call(function: Callable[..., T], *args: Any, **options: Any) -> T:
        return await to_thread.run_sync(partial(function, *args, **options))

    async def put(self, source: Any, **options: Any) -> ObjectInfo:
        """Store `source` with the options of `StorageBackend.put`."""
        return await self._call(self.backend.put, source, **options)

    async def get(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the blocks of a range."""
        async with aclosing(self._steps(self.backend.get(key, start, end))) as blocks:
            async for block in blocks:
                yield block

    async def _steps(self, iterator: Iterator[T]) -> AsyncGenerator[T, None]:
        def step() -> T | None:
            return next(iterator, None)

        try:
            while (item := await self._call(step)) is not None:
                yield item
        finally:
            if isinstance(iterator, Generator):
                await self._call(cast("Generator[T, None, None]", iterator).close)

    async def head(self, key: str) -> ObjectInfo:
        """Look an object up."""
        return await self._call(self.backend.head, key)

    async def exists(self, key: str) -> bool:
        """Ask for an object."""
        return await self._call(self.backend.exists, key)

    async def delete(self, key: str | Sequence[str]) -> None:
        """Delete one object or several."""
        await self._call(self.backend.delete, key)

    async def listing(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        """Yield the infos below `prefix`."""
        async with aclosing(self._steps(self.backend.list(prefix))) as infos:
            async for info in infos:
                yield info

    async def copy(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """Copy an object."""
        return await self._call(self.backend.copy, source, target, overwrite=overwrite)

    async def sign(self, keys: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        """Make a signed URL, or a list of them."""
        return await self._call(self.backend.sign, keys, expires_in=expires_in, for_upload=for_upload)

    async def clean(self, *, older_than: float) -> int:
        """Remove what interrupted puts left."""
        return await self._call(self.backend.clean, older_than=older_than)

    def gated(self, gate: Gate, *, before: bytes, after: bytes) -> Any:
        """Make a source of this half's kind that stops at `gate`."""
        return gate.blocks(before=before, after=after)
