"""The body of a request, in blocks of what has arrived."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from litestar.enums import RequestEncodingType
from litestar.types import Empty
from litestar.utils.scope.state import ScopeState  # the one private name that reading a form takes

from litestar_filestore.core.sources import LiveSource
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError
from litestar_filestore.sansio.digests import AnnouncedDigests
from litestar_filestore.uploads.limits import client_address
from litestar_filestore.uploads.refusals import busy, gone, malformed, refused, too_large, too_slow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from litestar import Request
    from litestar.types import HTTPReceiveMessage

    from litestar_filestore.core.types import PartBuffers
    from litestar_filestore.uploads.limits import Slot, UploadLimits

__all__ = ("Arrivals", "form_before", "form_values")

# A block is handed on when it is full, when nothing came for the pause, or when its first bytes are this old. A fast
# client fills it in less, a slow one holds nothing back.
_PAUSE_SECONDS = 0.002
_LINGER_SECONDS = 0.02
_LEAST_BYTES = 64 * 1024
_LENGTH = re.compile(r"[0-9]{1,19}")  # int() takes "+5", "1_0" and Arabic digits as well


class Arrivals(LiveSource):
    """The body of one request.

    One message is asked for ahead, so the client goes on sending while the backend works, and no further: a slow
    backend makes the server stop reading from the client. Iterate once, and `aclose` in any case.
    """

    def __init__(self, request: Request[Any, Any, Any], limits: UploadLimits, *, max_bytes: int) -> None:
        """Prepare to read; nothing is read or counted yet.

        Args:
            request: Whose body it is, be it still to come or read by somebody as a whole.
            limits: Idle time, rate, budget and number of uploads.
            max_bytes: Longest body.
        """
        self._request = request
        self._receive: Callable[[], Awaitable[Any]] = request.receive
        self._limits = limits
        self._max_bytes = max_bytes
        self._digests: AnnouncedDigests | None = None
        self._pending: asyncio.Future[HTTPReceiveMessage] | None = None
        self._slot: Slot | None = None
        self.deadline: float | None = None
        """When it has to be over, by the event loop's clock."""
        self._held = 0
        self._held_for: str | None = None
        self._more = True
        self._waited_seconds = 0.0
        self._rated_bytes = 0
        self._announced: int | None = None
        self._block_bytes = 0
        self._is_prepaid = False
        self.size = 0
        """Bytes that have come so far."""

    def start(self) -> None:
        """Take a slot and look at the headers; the first block does it otherwise.

        Raises:
            HTTPException: 503 if there are too many uploads, 413 if the announced length is too much, 400 if a header
                cannot be read.
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
        try:
            self._digests = AnnouncedDigests(headers.multi_items())
        except InvalidArgumentError as error:
            raise malformed(error) from error
        client = self._request.client
        self._slot = self._limits.slots.enter(client_address(client.host if client is not None else None))
        if self._slot is None:
            raise busy(self._limits.retry_after_seconds)
        if self._limits.request_seconds is not None:
            self.deadline = asyncio.get_running_loop().time() + self._limits.request_seconds

    async def __anext__(self) -> bytes:
        """Return what has arrived, at least one byte.

        Raises:
            HTTPException: 413 above the limit, 408 if the client is too slow, 400 if it has left or the digests differ.
        """
        self.start()
        self._give_back()
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
        """Stop reading. What the client still sends is the server's to throw away."""
        self._give_back()
        if (slot := self._slot) is not None:
            self._slot = None
            self._more = False
            slot.leave()
        if (pending := self._pending) is not None:
            self._pending = None
            pending.cancel()
            await asyncio.wait({pending})
            if not pending.cancelled():
                pending.exception()  # an answer that nobody waits for any more, whatever it is

    def go_to(self, store: str) -> None:
        """Take a slot of the store that the next bytes go to, in place of the one that was held so far.

        Raises:
            HTTPException: 503 if there are too many uploads to it.
        """
        if self._slot is None or store == self._slot.store:
            return
        if not self._slot.move(store):
            raise busy(self._limits.retry_after_seconds)
        held = self._held
        self._give_back()
        self._hold(held)

    @property
    def _store(self) -> str | None:
        """Key of the backend that the bytes go to, as far as that is known."""
        return self._slot.store if self._slot is not None else None

    @property
    def _left_bytes(self) -> int:
        """Most bytes that may come from the beginning of the last block on."""
        before = self.size - self._block_bytes
        return max(0, (self._max_bytes if self._announced is None else self._announced) - before)

    @asynccontextmanager
    async def part_memory(self, buffers: PartBuffers | None, max_bytes: int) -> AsyncGenerator[int | None]:
        """Have the memory that a put of this body needs, waiting for it if others have it, and give it back in the end.

        The block in memory is paid for by it as well: an upload that holds memory which others wait for must not wait
        for memory itself, and has to hurry.

        Args:
            buffers: What the driver holds; ``None`` if it holds nothing.
            max_bytes: Longest that the content may be.

        Yields:
            How many parts may be in flight; ``None`` leaves it to the driver.
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
                self._hold(self._block_bytes)  # what follows the file in the block
            budget.give(taken, store=store)

    async def _gather(self) -> bytes:
        pieces = [await self._first()]
        size = len(pieces[0])
        if self._more and size < BLOCK_BYTES:
            room = await self._room()
            loop = asyncio.get_running_loop()
            end = loop.time() + _LINGER_SECONDS
            while size < room and self._has_more() and (pause := min(_PAUSE_SECONDS, end - loop.time())) > 0:
                if not await self._arrives(pause):
                    break
                pieces.append(self._take())
                size += len(pieces[-1])
        if not self._is_prepaid:
            self._hold(size)
        if self._more:
            _ = self._ask()  # the client goes on while the backend works
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _has_more(self) -> bool:
        return self._more

    async def _room(self) -> int:
        """Wait until there is room for some more bytes, and return for how many."""
        if self._is_prepaid:
            return BLOCK_BYTES
        self._held_for = self._store
        self._held = await self._limits.budget.take(BLOCK_BYTES, least=_LEAST_BYTES, store=self._held_for)
        return self._held

    def _hold(self, size: int) -> None:
        """Have as many bytes of the budget as are in memory."""
        if not self._held:
            self._held_for = self._store
        if size < self._held:
            self._limits.budget.give(self._held - size, store=self._held_for)
        else:
            self._limits.budget.take_more(size - self._held, store=self._held_for)
        self._held = size

    def _give_back(self) -> None:
        if self._held:
            self._limits.budget.give(self._held, store=self._held_for)
            self._held = 0

    async def _first(self) -> bytes:
        """Wait for the client; empty at the end."""
        while self._more:
            await self._wait_for_client()
            if piece := self._take():
                return piece
        return b""

    async def _wait_for_client(self) -> None:
        limits = self._limits
        loop = asyncio.get_running_loop()
        start = loop.time()
        left_seconds = self.deadline - start if self.deadline is not None else limits.idle_seconds
        arrived = await self._arrives(min(limits.idle_seconds, left_seconds))
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

    async def _arrives(self, seconds: float) -> bool:
        """Return whether a message is there, after at most `seconds`; `_take` takes it."""
        pending = self._ask()
        if not pending.done():
            await asyncio.wait({pending}, timeout=seconds)
        return pending.done()

    def _ask(self) -> asyncio.Future[HTTPReceiveMessage]:
        """Return the message that is asked for. It is a task: a wait that ends too early must not lose the message."""
        pending = self._pending
        if pending is None:
            pending = self._pending = asyncio.ensure_future(cast("Any", self._receive()))
        return pending

    def _take(self) -> bytes:
        pending = self._pending
        self._pending = None
        message = cast("Any", pending).result()
        if message["type"] == "http.disconnect":
            raise gone()
        self._more = message.get("more_body", False)
        if not self._more:
            self._request.is_connected = False  # this is how Litestar knows that there is no body to be read
        body: bytes = message.get("body", b"")
        return body

    def _too_large(self) -> Exception:
        return too_large(f"The body is larger than {self._max_bytes} bytes: send less at a time")


def _replayed(body: bytes) -> Callable[[], Awaitable[Any]]:
    """Return what hands over a body that is in memory already, as a server does."""
    starts = iter(range(0, max(len(body), 1), BLOCK_BYTES))

    async def receive() -> Any:
        start = next(starts)
        end = start + BLOCK_BYTES
        return {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}

    return receive


def _body_before(request: Request[Any, Any, Any]) -> bytes | None:
    """Return the body of a request if somebody has read it already, ``None`` if it is still to come.

    A middleware, a guard or a hook may have, whose request is another object: what all of them share is the scope.

    Raises:
        ConfigurationError: If somebody has, and nobody knows where it is.
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
    """Return the form of a request if Litestar has read it already, and has nothing else of the body any more."""
    state: Any = ScopeState.from_scope(request.scope)
    # It makes an empty form of a body that is none, and does not read it then.
    if state.form is Empty or state.body is not Empty or request.content_type[0] != RequestEncodingType.MULTI_PART:
        return None
    return cast("Mapping[str, Any]", state.form)


def form_values(form: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a form that Litestar has read: it keeps a list where a name came several times."""
    for name, value in form.items():
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # of anything
            for each in items:
                yield name, each
        else:
            yield name, value
