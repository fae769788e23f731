"""The bytes of an answer: who sends them, and that exactly those are sent that were announced."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from anyio import create_task_group

from litestar_filestore.core.types import Capability, SignedAnswer
from litestar_filestore.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ObjectChangedError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from anyio import CancelScope
    from litestar.types import Receive, Scope, Send

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.downloads.answer import DownloadAnswer, ObjectFacts
    from litestar_filestore.downloads.download_config import Delivery, DownloadConfig
    from litestar_filestore.sansio.ranges import ByteRange, RangesBody

__all__ = (
    "Transfer",
    "Wire",
    "deliver",
    "first_byte_within",
    "redirect_url",
)

_PATHSEND = "http.response.pathsend"
_WHOLE = 200


class Transfer(NamedTuple):
    """The bytes of one answer on their way."""

    file: FileObject
    """The stored file."""
    facts: ObjectFacts
    """Facts about the object."""
    answer: DownloadAnswer
    """The parts that are wanted."""
    delivery: Delivery
    """The way that the application wishes."""
    config: DownloadConfig
    """The ways that it has."""


async def deliver(transfer: Transfer, headers: dict[str, str], wire: Wire) -> None:
    """Send an answer that has bytes, or have them sent.

    Raises:
        ConfigurationError: If ``accel`` is asked for, and the server in front reaches no such object.
        ObjectNotFoundError: If the object is missing.
        InvalidKeyError: If a symbolic link stands in the path of a local file.
        ObjectChangedError: If the object has another size than its row says.
    """
    sender = await _choose_sender(transfer, has_pathsend=wire.has_pathsend)
    if isinstance(sender, dict):
        # The server in front measures what it sends, makes a 206 of the 200, and says itself that it can.
        kept = {name: value for name, value in headers.items() if name not in {"content-range", "accept-ranges"}}
        await wire.send_nothing(200, {**kept, **sender, "content-length": "0"})
    elif sender is not None:
        await wire.send_path(headers, sender)
    else:
        await wire.send_object(transfer.file, transfer.answer, headers)


async def _choose_sender(transfer: Transfer, *, has_pathsend: bool) -> dict[str, str] | Path | None:
    """Return headers for the server in front, a path for the ASGI server, or ``None`` for a body of our own."""
    file, facts, answer, delivery, _ = transfer
    if delivery in {"auto", "accel"} and (headers := await _front_headers(transfer)) is not None:
        return headers
    if delivery == "accel" and answer.frame is None:
        raise ConfigurationError(
            "The server in front is not configured to send objects of this backend: add its folder to front_server=, "
            "or choose another delivery=",
            backend=file.backend_key,
        )
    if delivery in {"auto", "pathsend"} and answer.status_code == _WHOLE and has_pathsend:
        path = _local_path(file)
        if path is not None:
            await _check_object(file, facts.size)
            return path
    return None


async def _front_headers(transfer: Transfer) -> dict[str, str] | None:
    file, answer, config = transfer.file, transfer.answer, transfer.config
    if (front := config.front_server) is None:
        return None
    if (path := _local_path(file)) is not None:
        if (headers := front.for_path(path)) is not None:
            await _check_object(file, transfer.facts.size)
        return headers
    backend = file.backend
    # Stores answer one range; several are put together here.
    if Capability.SIGN_GET not in backend.capabilities or answer.frame is not None:
        return None
    part = answer.ranges[0] if answer.status_code != _WHOLE else None
    if front.for_url("", part) is None:
        return None
    try:
        url = await backend.sign_async(file.path, expires_in=config.redirect_seconds)
    except UnsupportedOperationError:  # not this key
        if transfer.delivery == "accel":
            raise
        return None
    return front.for_url(url if isinstance(url, str) else url[0], part)


def _local_path(file: FileObject) -> Path | None:
    backend = file.backend
    return backend.local_path(file.path) if Capability.LOCAL_PATH in backend.capabilities else None


async def _check_object(file: FileObject, size: int) -> None:
    """Make sure that whoever sends a local file by its path sends what the application itself would.

    The driver looks as it does before it reads: each folder of the path is opened in turn, and a symbolic link in the
    place of one, or of the file, is refused (CVE-2024-23334 is a server that followed one). What happens between this
    and the sending, only the server that sends can see.

    Raises:
        ObjectNotFoundError: If there is no such object.
        InvalidKeyError: If a symbolic link stands in its path.
        ObjectChangedError: If it has another size than its row says.
    """
    if (await file.head_async()).size != size:
        raise ObjectChangedError(
            "The object is not as long as its row says: store the file again",
            operation="get",
            backend=file.backend_key,
            key=file.key,
        )


async def redirect_url(file: FileObject, headers: dict[str, str], config: DownloadConfig) -> str:
    """Return a URL of the store that answers with the type and the disposition in `headers`.

    Raises:
        UnsupportedOperationError: If the store cannot sign that: a link without them would let the store show
            whatever the uploader said it was.
    """
    answer = SignedAnswer(
        content_type=headers["content-type"],
        content_disposition=headers["content-disposition"],
        signed_at=int(time.time()),
        expires_in=config.redirect_seconds,
    )
    return await file.backend.sign_answer_async(file.path, answer)


@asynccontextmanager
async def first_byte_within(file: FileObject, seconds: float | None) -> AsyncGenerator[asyncio.Timeout]:
    """Return a context that ends with an error if its limit is not taken away in time."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield limit
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BackendUnavailableError(
            f"The store did not begin to answer within {seconds:g} seconds; try again later",
            operation="get",
            backend=file.backend_key,
            key=file.key,
        ) from error


class Wire:
    """The connection, and the three ways to send something over it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: asyncio.Timeout) -> None:
        """Send over this connection; `limit` ends with the first byte."""
        self.scope: dict[str, Any] = cast("dict[str, Any]", scope)
        self._limit = limit
        self._receive = receive
        self._send = send

    @property
    def has_pathsend(self) -> bool:
        """Whether the ASGI server sends local files itself."""
        return _PATHSEND in (self.scope.get("extensions") or {})

    async def send_nothing(self, status_code: int, headers: Mapping[str, str]) -> None:
        """Send headers alone."""
        await self._start(status_code, headers)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send_path(self, headers: Mapping[str, str], path: Path) -> None:
        """Have a local file sent."""
        await self._start(_WHOLE, headers)
        pathsend: Any = {"type": _PATHSEND, "path": str(path)}  # no type in Litestar
        await self._send(pathsend)

    async def send_object(self, file: FileObject, answer: DownloadAnswer, headers: Mapping[str, str]) -> None:
        """Read an object and send what is wanted of it."""
        async with aclosing(_object_bytes(file, answer.ranges, answer.frame)) as pieces:
            # Before anything is sent: a missing object still gets an answer of its own.
            first = await anext(pieces)
            await self._start(answer.status_code, headers)
            await _send_pieces(pieces, first, int(answer.headers["content-length"]), self._receive, self._send)

    async def _start(self, status_code: int, headers: Mapping[str, str]) -> None:
        self._limit.reschedule(None)  # from now on it is the client who may be slow
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status_code, "headers": raw})


async def _object_bytes(
    file: FileObject, ranges: Sequence[ByteRange], frame: RangesBody | None
) -> AsyncGenerator[bytes, None]:
    """Yield the body of an answer, reading nothing but `ranges`.

    Raises:
        ObjectNotFoundError: At the first piece.
        ObjectChangedError: If the object is shorter than it should be: padding or ending early would be a lie.
    """
    for part in ranges:
        if frame is not None:
            yield frame.head_of(part)
        async with aclosing(_part(file, part)) as blocks:
            async for block in blocks:
                yield block
    if frame is not None:
        yield frame.tail


async def _part(file: FileObject, part: ByteRange) -> AsyncGenerator[bytes, None]:
    missing = part.length
    try:
        async with aclosing(file.stream_async(part.start, part.end)) as blocks:
            async for block in blocks:
                missing -= len(block)
                yield block
    except RangeNotSatisfiableError as error:  # of the store: the range was within the size that the row knows
        raise _shorter(file) from error
    if missing:
        raise _shorter(file)


def _shorter(file: FileObject) -> ObjectChangedError:
    return ObjectChangedError(
        "The object is shorter than its row says: store the file again",
        operation="get",
        backend=file.backend_key,
        key=file.key,
    )


async def _send_pieces(
    pieces: AsyncGenerator[bytes, None], first: bytes, length: int, receive: Receive, send: Send
) -> None:
    """Send a body of `length` bytes that begins with `first`; stop reading as soon as the client is gone.

    Raises:
        ObjectChangedError: If `pieces` ends early. The response has begun, so the server breaks the connection.
    """
    if len(first) == length:
        await send({"type": "http.response.body", "body": first, "more_body": False})
        return
    failure: Exception | None = None
    async with create_task_group() as group:
        group.start_soon(_wait_for_disconnect, receive, group.cancel_scope)
        try:
            await _send_all(pieces, first, length, send)
        except Exception as error:  # noqa: BLE001  # raised below: the group would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _send_all(pieces: AsyncGenerator[bytes, None], first: bytes, length: int, send: Send) -> None:
    left = length - len(first)
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for piece in pieces:
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


async def _wait_for_disconnect(receive: Receive, scope: CancelScope) -> None:
    # Servers drop what is sent to nobody without a word: a closed tab would have the rest of a film read for nothing.
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
