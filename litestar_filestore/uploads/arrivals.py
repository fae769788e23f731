"""Reads the body of a request in blocks, as it arrives."""

from __future__ import annotations

import asyncio
import platform
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from litestar.enums import RequestEncodingType
from litestar.types import Empty
from litestar.utils.scope.state import ScopeState  # the only private name that reading a form needs

from litestar_filestore.core.sources import LiveSource
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError
from litestar_filestore.sansio.digests import DIGEST_HEADERS, AnnouncedDigests
from litestar_filestore.uploads.limits import client_address
from litestar_filestore.uploads.refusals import busy, gone, malformed, refused, too_large, too_slow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping

    from litestar import Request
    from litestar.datastructures import Headers
    from litestar.types import HTTPReceiveMessage

    from litestar_filestore.core.types import PartBuffers
    from litestar_filestore.uploads.limits import ByteBudget, Slot, UploadLimits

__all__ = ("LEFT_BODY", "Arrivals", "form_before", "form_values", "keep_memory_of_messages")

LEFT_BODY = "litestar_filestore.left_body"
"""In the scope of a request whose body nobody reads to its end."""

# A block is passed on when it is full, when nothing has come during the pause, or when its first bytes are this old. A
# fast client fills it sooner, and a slow one delays nothing.
_PAUSE_SECONDS = 0.002
_LINGER_SECONDS = 0.02
_LEAST_BYTES = 64 * 1024
_LARGE_BYTES = 8 * 1024 * 1024
_LENGTH = re.compile(r"[0-9]{1,19}")  # int() also accepts "+5", "1_0" and Arabic digits


class _Share:
    """What one upload has of the memory."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._store: str | None = None
        self.size = 0
        """In bytes."""

    def have(self, size: int, store: str | None) -> None:
        """Keep what was taken for a store; there was nothing before."""
        self.size, self._store = size, store

    def resize(self, size: int, store: str | None = None) -> None:
        """Make the budget match the bytes in memory; those that are taken first are for `store`."""
        if not self.size:
            self._store = store
        if size < self.size:
            self._budget.give(self.size - size, store=self._store)
        elif size > self.size:
            self._budget.take_more(size - self.size, store=self._store)
        self.size = size

    def move(self, store: str) -> None:
        """Let all of it be for another store."""
        size = self.size
        self.resize(0)
        self.resize(size, store)


class Arrivals(LiveSource):
    """The body of one request.

    What has arrived as a whole costs no task. The rest is read by one, so the client goes on sending while the backend
    works: one block ahead, or one message if memory is short. If the backend is slow, the server stops reading from
    the client. Iterate once, and call `aclose` in any case.
    """

    def __init__(
        self, request: Request[Any, Any, Any], limits: UploadLimits, *, max_bytes: int, checks_digests: bool = True
    ) -> None:
        """Prepare to read; nothing is read or counted yet.

        Args:
            request: The request whose body it is; the body may have been read as a whole already.
            limits: Limits of idle time, rate, memory and number of uploads.
            max_bytes: Longest body.
            checks_digests: Whether the digests that the headers announce are compared at the end.
        """
        self._request = request
        self._checks_digests = checks_digests
        self._receive: Callable[[], Awaitable[Any]] = request.receive
        self._limits = limits
        self._max_bytes = max_bytes
        self._digests: AnnouncedDigests | None = None
        self._pieces: list[bytes] = []
        self._arrived_bytes = 0
        self._reading: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._room_bytes = 1
        self._gate: asyncio.Future[None] | None = None
        self._wanted_bytes = 0
        self._coming: asyncio.Future[None] | None = None
        self._slot: Slot | None = None
        self.deadline: float | None = None
        """When the request has to have arrived, by the event loop's clock."""
        self._held = _Share(limits.budget)
        self._ahead = _Share(limits.budget)
        self._store: str | None = None
        self._more = True
        self._waited_seconds = 0.0
        self._rated_bytes = 0
        self._announced: int | None = None
        self._block_bytes = 0
        self._is_prepaid = False
        self.size = 0
        """Number of bytes that have arrived so far."""

    def start(self) -> None:
        """Take a slot and check the headers; otherwise the first block does it.

        Raises:
            HTTPException: 503 if there are too many uploads, 413 if the announced length is too large, 400 if a header
                cannot be parsed.
        """
        if self._slot is not None:
            return
        before = _body_before(self._request)
        headers = self._request.headers
        announced = headers.get("content-length")
        if announced is not None and _LENGTH.fullmatch(announced) is None:
            raise refused("The Content-Length is not a number: send the length of the body in bytes")
        if before is not None:
            self._receive = _replayed(before)
            self._announced = len(before)
        elif announced is not None:
            self._announced = int(announced)
        if self._announced is not None and self._announced > self._max_bytes:
            raise self._too_large()
        if self._checks_digests and (digests := [each for each in DIGEST_HEADERS if each in headers]):
            self._digests = _announced(headers, digests)
        client = self._request.client
        self._slot = self._limits.slots.enter(client_address(client.host if client is not None else None))
        if self._slot is None:
            raise busy(self._limits.retry_after_seconds)
        if self._limits.request_seconds is not None:
            self.deadline = asyncio.get_running_loop().time() + self._limits.request_seconds

    async def __anext__(self) -> bytes:
        """Return the bytes that have arrived, at least one.

        Raises:
            HTTPException: 413 above the limit, 408 if the client is too slow, 400 if it has left or the digests differ.
        """
        if self._slot is None:
            self.start()
        if self._held.size:
            self._held.resize(0)
        block = await self._gather()
        self._block_bytes = len(block)
        self.size += len(block)
        if self.size > self._max_bytes:
            raise self._too_large()
        if self._digests is not None:
            self._digests.update(block)
            if not (self._more or self._digests.verify()):
                raise refused("The body does not have the digest that its header announces: send it again")
        if not block:
            raise StopAsyncIteration
        return block

    async def aclose(self) -> None:
        """Stop reading. The server discards what the client still sends."""
        for share in (self._held, self._ahead):
            if share.size:
                share.resize(0)
        if self._more:
            cast("dict[str, Any]", self._request.scope)[LEFT_BODY] = True
        if (slot := self._slot) is not None:
            self._slot = None
            self._more = False
            slot.leave()
        if (reading := self._reading) is not None:
            self._reading = None
            reading.cancel()
            await asyncio.wait({reading})

    @property
    def ends_here(self) -> bool:
        """Whether the last block was the last one."""
        return not (self._more or self._arrived_bytes)

    def go_to(self, store: str) -> None:
        """Take a slot of the store that the next bytes go to, and give back the previous slot.

        Raises:
            HTTPException: 503 if there are too many uploads to this store.
        """
        if self._slot is None or store == self._slot.store:
            return
        if not self._slot.move(store):
            raise busy(self._limits.retry_after_seconds)
        self._store = store
        for share in (self._held, self._ahead):
            if share.size:
                share.move(store)

    @property
    def _left_bytes(self) -> int:
        """Largest number of bytes that may come, counted from the beginning of the last block."""
        before = self.size - self._block_bytes
        return max(0, (self._max_bytes if self._announced is None else self._announced) - before)

    @asynccontextmanager
    async def part_memory(self, buffers: PartBuffers | None, max_bytes: int) -> AsyncGenerator[int | None]:
        """Reserve the memory that a put of this body needs, wait for it if others hold it, and release it at the end.

        The reservation covers the block in memory as well. An upload that holds memory for which others wait must not
        wait for memory itself, and has to keep up a minimum rate.

        Args:
            buffers: What the driver buffers; ``None`` if it buffers nothing.
            max_bytes: Largest size of the content.

        Yields:
            How many parts may be in flight; ``None`` lets the driver decide.
        """
        if buffers is None:
            yield None
            return
        max_bytes = min(max_bytes, self._left_bytes)
        wanted = buffers.bytes_of(max_bytes) + BLOCK_BYTES
        least = buffers.bytes_of(max_bytes, max_concurrency=1) + BLOCK_BYTES
        budget, store = self._limits.part_budget, self._store
        taken = await budget.take(wanted, least=least, store=store)
        self._is_prepaid = True
        try:
            yield None if taken == wanted else 1
        finally:
            self._is_prepaid = False
            if self._slot is not None:
                self._held.resize(self._block_bytes, self._store)  # what follows the file in the block
            budget.give(taken, store=store)

    async def _gather(self) -> bytes:
        if self._more and not self._arrived_bytes:
            self._ahead.resize(0)
            await self._wait_for_client()
        self._held, self._ahead = self._ahead, self._held  # what was read ahead is the next block
        if self._more and self._arrived_bytes < BLOCK_BYTES:
            self._room_bytes = self._held.size or await self._room()
            if self._arrived_bytes < self._room_bytes:
                await self._linger()
        pieces, self._pieces = self._pieces, []
        size, self._arrived_bytes = self._arrived_bytes, 0
        if not self._is_prepaid:
            self._held.resize(size, self._store)
        if self._more:
            self._room_bytes = BLOCK_BYTES if self._may_read_ahead() else 1
            self._go_on()  # the client goes on while the backend works
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _room(self) -> int:
        """Wait until there is room for more bytes, and return for how many."""
        if self._is_prepaid:
            return BLOCK_BYTES
        taken = await self._limits.budget.take(BLOCK_BYTES, least=_LEAST_BYTES, store=self._store)
        self._held.have(taken, self._store)
        return taken

    def _may_read_ahead(self) -> bool:
        """Take memory for another block, if its store is known and nobody waits for any."""
        if self._store is None or self._is_prepaid or not self._limits.budget.take_now(BLOCK_BYTES, store=self._store):
            return False
        self._ahead.have(BLOCK_BYTES, self._store)
        return True

    async def _wait_for_client(self) -> None:
        limits = self._limits
        loop = asyncio.get_running_loop()
        start = loop.time()
        left_seconds = self.deadline - start if self.deadline is not None else limits.idle_seconds
        arrived = await self._arrives(start + min(limits.idle_seconds, left_seconds))
        self._waited_seconds += loop.time() - start
        if self.deadline is not None and loop.time() >= self.deadline:
            raise too_slow(
                f"The body did not come within {limits.request_seconds:g} seconds: send it faster, or send less"
            )
        if not arrived:
            raise too_slow(
                f"Nothing came for {limits.idle_seconds:g} seconds: send the body again, without such pauses"
            )
        if self._waited_seconds >= limits.rate_seconds:
            rate = self._least_rate()
            if self.size - self._rated_bytes < rate * self._waited_seconds:
                raise too_slow(f"Less than {rate} bytes came in a second: send the body again over a faster connection")
            self._waited_seconds, self._rated_bytes = 0.0, self.size

    def _least_rate(self) -> int:
        wanted = self._is_prepaid and self._limits.part_budget.is_wanted(self._store)
        if wanted or (self._slot is not None and self._slot.is_short):
            return max(self._limits.busy_bytes_per_second, self._limits.min_bytes_per_second)
        return self._limits.min_bytes_per_second

    async def _arrives(self, deadline: float) -> bool:
        """Wait for bytes or the end of the body, and return whether one has come before `deadline`."""
        if self._reading is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_at(deadline, self._stop_waiting)
            try:
                await self._comes(1)
            finally:
                timer.cancel()
            return bool(self._arrived_bytes) or not self._more
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                while self._more and not self._arrived_bytes:
                    self._take(await self._receive())
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True

    async def _linger(self) -> None:
        """Wait until there is no more room, nothing has come for a while, or the first bytes are old."""
        loop = asyncio.get_running_loop()
        end, seen = loop.time() + _LINGER_SECONDS, self._arrived_bytes
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal seen, timer
            now = loop.time()
            if self._arrived_bytes == seen or now >= end:
                self._stop_waiting()
            else:
                seen = self._arrived_bytes
                timer = loop.call_at(min(now + _PAUSE_SECONDS, end), look)

        timer = loop.call_later(_PAUSE_SECONDS, look)
        try:
            await self._comes(self._room_bytes)
        finally:
            timer.cancel()

    async def _comes(self, wanted: int) -> None:
        """Wait until `wanted` bytes are here, or the end of the body, or `_stop_waiting` is called."""
        self._go_on()
        if self._more and self._arrived_bytes < wanted and self._failure is None:
            self._wanted_bytes = wanted
            self._coming = asyncio.get_running_loop().create_future()
            await self._coming
        if self._failure is not None:
            raise self._failure

    def _stop_waiting(self) -> None:
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)

    def _go_on(self) -> None:
        """Let the task read on if there is room."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_on())
        elif self._gate is not None and self._arrived_bytes < self._room_bytes and not self._gate.done():
            self._gate.set_result(None)

    async def _read_on(self) -> None:
        try:
            while self._more:
                while self._arrived_bytes >= self._room_bytes:
                    self._gate = asyncio.get_running_loop().create_future()
                    await self._gate
                self._take(await self._receive())
                if self._arrived_bytes >= self._wanted_bytes:
                    self._stop_waiting()
        except Exception as error:  # noqa: BLE001  # raised by whoever waits for bytes
            self._failure = error
        finally:
            self._stop_waiting()

    def _take(self, message: HTTPReceiveMessage) -> None:
        if message["type"] == "http.disconnect":
            raise gone()
        self._more = message.get("more_body", False)
        if not self._more:
            self._request.is_connected = False  # tells Litestar that there is no body left to read
        if body := message.get("body", b""):
            self._pieces.append(body)
            self._arrived_bytes += len(body)

    def _too_large(self) -> Exception:
        return too_large(f"The body is larger than {self._max_bytes} bytes: send less at a time")


def keep_memory_of_messages() -> bool:
    """Let the C library reuse the memory of body messages, and return whether that was necessary. Call it at the start.

    A server delivers messages of 64 to 320 KiB. glibc maps blocks above 128 KiB one by one: each is mapped, faulted in
    and unmapped, which costs as much as all the rest of reading a body. The limit rises to the size of the largest
    mapped block that was freed, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). So one large block is made and dropped. It
    is never touched: ``bytes`` asks for memory that is zero already, and no page of it is ever used.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    _ = bytes(_LARGE_BYTES)
    return True


def _announced(headers: Headers, names: Iterable[str]) -> AnnouncedDigests:
    try:
        return AnnouncedDigests((name, value) for name in names for value in headers.getall(name))
    except InvalidArgumentError as error:
        raise malformed(error) from error


def _replayed(body: bytes) -> Callable[[], Awaitable[Any]]:
    """Return a ``receive`` that delivers a body from memory, as a server would."""
    starts = iter(range(0, max(len(body), 1), BLOCK_BYTES))

    async def receive() -> Any:
        start = next(starts)
        end = start + BLOCK_BYTES
        return {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}

    return receive


def _body_before(request: Request[Any, Any, Any]) -> bytes | None:
    """Return the body of a request if it has been read already, ``None`` if it is still to come.

    A middleware, a guard or a hook may have read it through another request object: they share only the scope.

    Raises:
        ConfigurationError: If it has been read, and the bytes were not kept.
    """
    state: Any = ScopeState.from_scope(request.scope)
    if state.body is not Empty:
        return cast("bytes", state.body)
    if not request.is_connected:
        raise ConfigurationError(
            "The body of the request was read before it could be stored, and is gone: read it with request.body() or "
            "request.form(), which keep it, not with request.stream(), and store it once"
        )
    return None


def form_before(request: Request[Any, Any, Any]) -> Mapping[str, Any] | None:
    """Return the form of a request if Litestar has parsed it already and kept nothing else of the body."""
    state: Any = ScopeState.from_scope(request.scope)
    # For a body that is no form, Litestar makes an empty form and does not read the body.
    if state.form is Empty or state.body is not Empty or request.content_type[0] != RequestEncodingType.MULTI_PART:
        return None
    return cast("Mapping[str, Any]", state.form)


def form_values(form: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a form that Litestar has parsed: it keeps a list if a name came several times."""
    for name, value in form.items():
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # any items
            for each in items:
                yield name, each
        else:
            yield name, value
