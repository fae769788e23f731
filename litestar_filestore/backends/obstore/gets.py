"""Ranged reads of objects through obstore.

obstore's own response stream costs ten times the processor time of ranged requests. A range can also be requested
again, where a stream has to start over. All bytes belong to one version of the object: each request names the entity
tag of the first response, and each response is compared with the first.

An application has many async readers at a time, and most of them are slow: whatever is read ahead for them waits in
memory. So this module reads ahead for consumers that keep up, and holds next to nothing for the others.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import obstore

from litestar_filestore.backends.obstore.obstore_errors import is_range_refusal
from litestar_filestore.core.driver import ObjectVersion
from litestar_filestore.core.pace import Pace
from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

    from litestar_filestore.core.types import ObjectInfo

__all__ = (
    "LEAST_BYTES",
    "SHARED_BYTES",
    "ReadAhead",
    "StoredVersion",
    "open_version",
    "read",
    "read_async",
)

FIRST_BYTES = 1024 * 1024
"""Size of the first request: it fetches small objects whole, and gets the first byte of large ones quickly."""
LARGEST_BYTES = 4 * 1024 * 1024
"""Size up to which requests grow. Larger ones gain nothing and do not fit in the processor's cache."""
SHARED_BYTES = 64 * 1024 * 1024
"""Memory shared by all readers of a store; when it is used up, each goes on with `LEAST_BYTES`."""
IN_FLIGHT = 3
"""Concurrent requests of an async read for a consumer that keeps up. With three, 256 MB come a seventh faster than with
two from a store on the same machine."""
PIECE_BYTES = 512 * 1024
"""Size of a piece for a consumer that keeps up."""
SMALL_PIECE_BYTES = 32 * 1024
"""Size of a piece for a consumer of unknown pace: the piece stays in memory as long as the consumer waits."""
SLOW_BYTES = 256 * 1024
"""Size of a request for a consumer that has paused."""
STALL_SECONDS = 0.5
"""Pause in seconds after which what was read ahead for a consumer is dropped."""
LEAST_BYTES = 64 * 1024
"""Memory that a reader always gets: it must make progress, and much shorter requests cost more than they save."""


class Part(NamedTuple):
    """The response to a range request."""

    meta: ObjectMeta
    content: memoryview
    """The bytes in the library's own memory; copy them before you pass them on."""


def read(store: ObjectStore, path: str, start: int, end: int | None) -> Iterator[bytes]:
    """Yield the bytes of a range with one request after the other; see `Driver.get`."""
    try:
        first = _sync_part(store, path, start, _first_stop(start, end), None)
    except Exception as error:
        if not is_range_refusal(error):
            raise
        refuse_range(start, obstore.head(store, path)["size"], error)
        return
    yield bytes(first.content)
    for window in _windows(first, start, end):
        yield bytes(_sync_part(store, path, *window, first.meta).content)


def _first_stop(start: int, end: int | None) -> int:
    return start + FIRST_BYTES if end is None else min(end, start + FIRST_BYTES)


def _windows(first: Part, start: int, end: int | None) -> Iterator[tuple[int, int]]:
    position = start + len(first.content)
    size = first.meta["size"]
    stop = size if end is None else min(end, size)
    length = FIRST_BYTES
    while position < stop:
        length = min(length * 2, LARGEST_BYTES)
        yield position, min(position + length, stop)
        position += length


def refuse_range(start: int, size: int, error: Exception) -> None:
    """Raise unless the object is just empty: stores refuse every range of an empty object.

    Raises:
        RangeNotSatisfiableError: If `start` is after the last of `size` bytes.
        Exception: `error`, if it has another cause.
    """
    if start == 0 and size == 0:
        return
    if start >= size:
        raise RangeNotSatisfiableError(
            "The range starts behind the end of the object: start before it", size=size
        ) from error
    raise error


def _get_options(start: int, stop: int, seen: ObjectMeta | None) -> GetOptions:
    options: GetOptions = {"range": (start, stop)}
    etag = seen["e_tag"] if seen is not None else None
    # A weak tag never matches in If-Match (RFC 9110 §13.1.1), so the responses are compared instead.
    if etag and not etag.startswith("W/"):
        options["if_match"] = etag
    return options


def _sync_part(store: ObjectStore, path: str, start: int, stop: int, seen: ObjectMeta | None) -> Part:
    try:
        result = obstore.get(store, path, options=_get_options(start, stop, seen))
        content = memoryview(result.bytes())
    except Exception as error:
        _raise_if_gone(error, seen)
        raise
    return _checked(result, content, start, stop, seen)


async def request_async(store: ObjectStore, path: str, start: int, stop: int, seen: ObjectMeta | None) -> Part:
    """Request the bytes in [`start`, `stop`), of the version that `seen` describes unless it is ``None``.

    Raises:
        ObjectChangedError: If that version is gone, or the response does not fit the request.
    """
    try:
        result = await obstore.get_async(store, path, options=_get_options(start, stop, seen))
        content = memoryview(await result.bytes_async())
    except Exception as error:
        _raise_if_gone(error, seen)
        raise
    return _checked(result, content, start, stop, seen)


def _raise_if_gone(error: Exception, seen: ObjectMeta | None) -> None:
    """Distinguish a deleted or shortened object from one that never existed."""
    if seen is not None and (isinstance(error, FileNotFoundError) or is_range_refusal(error)):
        raise ObjectChangedError("The object was deleted or cut while it was being read: read it again") from error


def _checked(result: GetResult, content: memoryview, start: int, stop: int, seen: ObjectMeta | None) -> Part:
    meta = result.meta
    if seen is not None and _version(meta) != _version(seen):
        raise ObjectChangedError("The object was replaced while it was read: read it again")
    if len(content) != min(stop, meta["size"]) - start:
        raise ObjectChangedError(
            "The store returned another number of bytes than the range holds: read the object again"
        )
    return Part(meta, content)


def _version(meta: ObjectMeta) -> tuple[object, ...]:
    return (meta["size"], meta["e_tag"]) if meta["e_tag"] else (meta["size"], meta["last_modified"])


class ReadAhead:
    """A memory budget that all readers of a store share, for bytes that are requested but not yet delivered.

    When it is used up, readers go on with short requests, one at a time. Thread-safe, because several event loops may
    use one driver.
    """

    def __init__(self, total_bytes: int) -> None:
        """Share `total_bytes`."""
        self.free_bytes = total_bytes
        """Bytes left; below zero if readers only get the minimum."""
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        """Take up to `wanted` bytes, at least `LEAST_BYTES` if that many are wanted, and return how many.

        Never waits. Give the same number back with `give`.
        """
        with self._lock:
            taken = min(wanted, max(self.free_bytes, LEAST_BYTES))
            self.free_bytes -= taken
            return taken

    def give(self, count: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.free_bytes += count


def read_async(
    store: ObjectStore, path: str, start: int, end: int | None, memory: ReadAhead
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a range; see `Driver.get_async`.

    Three requests run ahead of a consumer that keeps up. For one that pauses, what was read ahead is dropped and
    requested again later. So many paused consumers hold only a small piece each.

    Args:
        store: Where the object is.
        path: Its key.
        start: First byte.
        end: Byte after the last one; ``None`` for all.
        memory: Shared by the readers of the store.
    """
    return _pieces(_Reader(store, path, start, end, memory))


async def _pieces(reader: _Reader) -> AsyncGenerator[bytes, None]:
    try:
        while piece := await reader.next():
            with reader.watched():
                yield piece
    finally:
        await reader.close()


class StoredVersion(ObjectVersion):
    """The version of an object that the first response of a read has described."""

    def __init__(self, reader: _Reader, info: ObjectInfo) -> None:
        """Read on with `reader`."""
        self._reader = reader
        self._info = info

    @property
    def info(self) -> ObjectInfo:
        """What the response said about the object."""
        return self._info

    def read_at_hand(self, start: int, end: int) -> bytes:
        """Return ``b""``: what the response brought is delivered at the pace of the consumer."""
        del start, end
        return b""

    def blocks(self, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range, those of the first response at once."""
        self._reader.move(start, end)
        return _pieces(self._reader)

    def close(self) -> None:
        """Give back what the first response brought."""
        self._reader.let_go()


async def open_version(
    store: ObjectStore, path: str, start: int, memory: ReadAhead, describe: Callable[[ObjectMeta], ObjectInfo]
) -> StoredVersion | None:
    """Request the first bytes of an object, whose response describes it as well; ``None`` for an empty one."""
    reader, meta = _Reader(store, path, start, None, memory), None
    try:
        meta = await reader.begin()
    finally:
        if meta is None:
            reader.let_go()
    return None if meta is None else StoredVersion(reader, describe(meta))


class _Reader:
    """One async read. Between two pieces it may drop everything, and later resume where it stopped."""

    def __init__(self, store: ObjectStore, path: str, start: int, end: int | None, memory: ReadAhead) -> None:
        self._store = store
        self._path = path
        self._memory = memory
        self._position = self._asked = start
        self._stop = end
        self._length = FIRST_BYTES
        self._seen: ObjectMeta | None = None
        self._window = memoryview(b"")
        self._window_bytes = 0
        self._ahead: deque[tuple[asyncio.Task[Part], int]] = deque()
        self._dropped: set[asyncio.Task[Part]] = set()
        self._pace = Pace()

    async def next(self) -> bytes:
        """Return the next piece, ``b""`` at the end."""
        is_quick = self._pace.is_quick()
        if not self._window:
            await self._turn()
        count = min(len(self._window), PIECE_BYTES if is_quick else SMALL_PIECE_BYTES)
        piece = bytes(self._window[:count])
        self._window = self._window[count:]
        self._position += count
        if not self._window:
            self._forget_window()
        self._look_ahead(IN_FLIGHT if is_quick else 0 if self._pace.has_paused else 1)
        self._pace.give(count)
        return piece

    @contextmanager
    def watched(self) -> Generator[None, None, None]:
        """Drop everything if the consumer stays in the body for long."""
        timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self.let_go)
        try:
            yield
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Give everything back, and wait until the requests end: nothing goes on in the background."""
        self.let_go()
        if self._dropped:
            await asyncio.gather(*self._dropped, return_exceptions=True)

    async def _turn(self) -> None:
        """Make the next window the current one."""
        if self._seen is None:
            await self.begin()
            return
        if not self._ahead and self._has_more():
            self._ask()
        if self._ahead:
            task, reserved = self._ahead[0]
            part = await task
            del self._ahead[0]
            self._window, self._window_bytes = part.content, reserved

    async def begin(self) -> ObjectMeta | None:
        """Request the first bytes, and return what the response says about the object; ``None`` if it is empty."""
        start, reserved = self._position, self._reserve(self._length)
        self._window_bytes = reserved  # given back whatever happens
        try:
            part = await request_async(self._store, self._path, start, start + reserved, None)
        except Exception as error:
            if not is_range_refusal(error):
                raise
            refuse_range(start, (await obstore.head_async(self._store, self._path))["size"], error)
            return None
        size = part.meta["size"]
        self._stop = size if self._stop is None else min(self._stop, size)
        self._seen, self._window = part.meta, part.content
        self._asked += len(part.content)
        return part.meta

    def _look_ahead(self, count: int) -> None:
        """Start requests until `count` are under way, while there are bytes left to request and room for them."""
        while len(self._ahead) < count and self._has_more() and self._memory.free_bytes > 0:
            self._ask()

    def _has_more(self) -> bool:
        return self._stop is not None and self._asked < self._stop

    def _ask(self) -> None:
        self._length = SLOW_BYTES if self._pace.has_paused else min(self._length * 2, LARGEST_BYTES)
        start, reserved = self._asked, self._reserve(self._length)
        self._asked += reserved
        request = request_async(self._store, self._path, start, self._asked, self._seen)
        self._ahead.append((asyncio.create_task(request), reserved))

    def _reserve(self, length: int) -> int:
        return self._memory.take(length if self._stop is None else min(length, self._stop - self._asked))

    def move(self, start: int, end: int | None) -> None:
        """Go on at another place of the version that the first response has described.

        Raises:
            RangeNotSatisfiableError: If it is behind the end.
        """
        size = cast("ObjectMeta", self._seen)["size"]
        if start and start >= size:
            raise RangeNotSatisfiableError("The range starts behind the end of the object: start before it", size=size)
        self._stop = size if end is None else min(end, size)
        if start == self._position:
            self._window = self._window[: self._stop - start]
        else:
            self._position = start
            self.let_go()

    def let_go(self) -> None:
        """Drop everything, to be requested again where it is needed."""
        while self._ahead:
            task, reserved = self._ahead.popleft()
            task.cancel()
            self._dropped.add(task)
            task.add_done_callback(self._forget_request)  # at once, or the task would keep what it has read
            self._memory.give(reserved)
        self._forget_window()
        self._asked = self._position

    def _forget_request(self, task: asyncio.Task[Part]) -> None:
        self._dropped.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more, so asyncio would report it

    def _forget_window(self) -> None:
        self._window = memoryview(b"")
        self._memory.give(self._window_bytes)
        self._window_bytes = 0
