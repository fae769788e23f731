"""Delivers the bytes of an answer: chooses who sends them, and makes sure that they are exactly those announced."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from litestar.types import Receive, Send

    from litestar_filestore.core.driver import ObjectVersion
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.downloads.answer import DownloadAnswer, ObjectFacts
    from litestar_filestore.downloads.download_config import Delivery, DownloadConfig
    from litestar_filestore.sansio.ranges import ByteRange, RangesBody

__all__ = (
    "Transfer",
    "Wire",
    "deliver",
    "first_byte_within",
    "is_sent_from_here",
    "redirect_url",
)

_PATHSEND = "http.response.pathsend"
_WHOLE = 200
_SERVER_BUFFER_BYTES = 64 * 1024
"""ASGI servers take this much of an answer before they wait for the client."""


class Transfer(NamedTuple):
    """What is needed to deliver the bytes of one answer."""

    file: FileObject
    """The stored file."""
    facts: ObjectFacts
    """Facts about the object."""
    answer: DownloadAnswer
    """The parts that are requested."""
    delivery: Delivery
    """The delivery that the application asks for."""
    config: DownloadConfig
    """The configuration, which says what the application can use."""
    version: ObjectVersion | None = None
    """The object, if it is open already."""


def is_sent_from_here(delivery: Delivery, config: DownloadConfig, *, has_pathsend: bool) -> bool:
    """Return whether the application itself sends the bytes, without asking where the object is."""
    return delivery == "stream" or (delivery == "auto" and config.front_server is None and not has_pathsend)


async def deliver(transfer: Transfer, headers: dict[str, str], wire: Wire) -> None:
    """Send an answer with bytes, or let another server send the bytes.

    Raises:
        ConfigurationError: If ``accel`` is requested, and the server in front cannot reach the object.
        ObjectNotFoundError: If the object is missing.
        InvalidKeyError: If the path of a local file contains a symbolic link.
        ObjectChangedError: If the size of the object differs from that in its row.
    """
    sender = await _choose_sender(transfer, has_pathsend=wire.has_pathsend)
    if isinstance(sender, dict):
        # The server in front sets the length, turns the 200 into a 206, and announces itself that it supports ranges.
        kept = {name: value for name, value in headers.items() if name not in {"content-range", "accept-ranges"}}
        await wire.send_nothing(200, {**kept, **sender, "content-length": "0"})
    elif sender is not None:
        await wire.send_path(headers, sender)
    else:
        await _send_object(transfer, headers, wire)


async def _send_object(transfer: Transfer, headers: dict[str, str], wire: Wire) -> None:
    file, part = transfer.file, transfer.answer.ranges[0]
    version = transfer.version or await file.backend.open_version_async(file.path, part.start, part.end)
    try:
        await wire.send_object(file, version, transfer.answer, headers)
    finally:
        if version is not None:
            version.close()


async def _choose_sender(transfer: Transfer, *, has_pathsend: bool) -> dict[str, str] | Path | None:
    """Return headers for the server in front, a path for the ASGI server, or ``None`` to send the body from here."""
    file, facts, answer, delivery = transfer.file, transfer.facts, transfer.answer, transfer.delivery
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
    # Stores answer a single range; several are combined here.
    if Capability.SIGN_GET not in backend.capabilities or answer.frame is not None:
        return None
    part = answer.ranges[0] if answer.status_code != _WHOLE else None
    if front.for_url("", part) is None:
        return None
    try:
        url = await backend.sign_async(file.path, expires_in=config.redirect_seconds)
    except UnsupportedOperationError:  # it cannot sign this key
        if transfer.delivery == "accel":
            raise
        return None
    return front.for_url(url if isinstance(url, str) else url[0], part)


def _local_path(file: FileObject) -> Path | None:
    backend = file.backend
    return backend.local_path(file.path) if Capability.LOCAL_PATH in backend.capabilities else None


async def _check_object(file: FileObject, size: int) -> None:
    """Make sure that a server that sends a local file by its path sends what the application itself would send.

    The driver checks the path as it does before it reads: it opens each folder of the path in turn, and refuses a
    symbolic link in place of a folder or of the file (CVE-2024-23334 is a server that followed one). Only the server
    that sends the file can notice what changes after this check.

    Raises:
        ObjectNotFoundError: If there is no such object.
        InvalidKeyError: If its path contains a symbolic link.
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
    """Return a context that ends with an error unless its limit is lifted in time."""
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
    """The connection, and the ways to send something over it."""

    __slots__ = ("_receive", "_send", "limit", "scope")

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Send over this connection."""
        self.scope = scope
        self.limit: asyncio.Timeout | None = None
        """Applies until the first byte."""
        self._receive = receive
        self._send = send

    @property
    def has_pathsend(self) -> bool:
        """Whether the ASGI server sends local files itself."""
        return _PATHSEND in (self.scope.get("extensions") or {})

    async def send_nothing(self, status_code: int, headers: Mapping[str, str]) -> None:
        """Send only headers."""
        await self._start(status_code, headers)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send_whole(self, status_code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send an answer that is in memory."""
        await self._start(status_code, headers)
        is_small = len(body) <= _SERVER_BUFFER_BYTES
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_small})
        if not is_small:
            # The server waits here for a slow client. Until then the body counts as held: see `ObjectVersion`.
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send_path(self, headers: Mapping[str, str], path: Path) -> None:
        """Let the ASGI server send a local file."""
        await self._start(_WHOLE, headers)
        pathsend: Any = {"type": _PATHSEND, "path": str(path)}  # no type in Litestar
        await self._send(pathsend)

    async def send_object(
        self, file: FileObject, version: ObjectVersion | None, answer: DownloadAnswer, headers: Mapping[str, str]
    ) -> None:
        """Read an object and send the requested parts."""
        async with aclosing(_object_bytes(file, version, answer.ranges, answer.frame)) as pieces:
            # Before anything is sent, so that a missing object can still be answered with an error.
            first = await anext(pieces)
            await self._start(answer.status_code, headers)
            await _send_pieces(pieces, first, int(answer.headers["content-length"]), self._receive, self._send)

    async def _start(self, status_code: int, headers: Mapping[str, str]) -> None:
        if self.limit is not None:
            self.limit.reschedule(None)  # from now on only the client can be slow
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status_code, "headers": raw})


async def _object_bytes(
    file: FileObject, version: ObjectVersion | None, ranges: Sequence[ByteRange], frame: RangesBody | None
) -> AsyncGenerator[bytes, None]:
    """Yield the body of an answer, reading nothing but `ranges`.

    Raises:
        ObjectNotFoundError: At the first piece.
        ObjectChangedError: If the object is shorter than announced; it is neither padded nor cut short silently.
    """
    for part in ranges:
        if frame is not None:
            yield frame.head_of(part)
        missing = part.length
        try:
            async with aclosing(_blocks(file, version, part)) as blocks:
                async for block in blocks:
                    missing -= len(block)
                    yield block
        except RangeNotSatisfiableError as error:  # from the store: the range was within the size in the row
            raise _shorter(file) from error
        if missing:
            raise _shorter(file)
    if frame is not None:
        yield frame.tail


def _blocks(file: FileObject, version: ObjectVersion | None, part: ByteRange) -> AsyncGenerator[bytes, None]:
    if version is None:
        return file.stream_async(part.start, part.end)
    return file.backend.get_async(file.path, part.start, part.end, version=version)


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
    """Send a body of `length` bytes that begins with `first`; stop reading as soon as the client has gone.

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
    # Servers silently drop what is sent after a client has gone: for a closed tab, the rest of a film would be read for
    # nothing.
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
