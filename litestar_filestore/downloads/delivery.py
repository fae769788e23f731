"""The bytes of an answer: exactly those that were announced, or a connection that breaks."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from anyio import create_task_group

from litestar_filestore.core.types import Capability, SignedAnswer
from litestar_filestore.errors import (
    ConfigurationError,
    ObjectChangedError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from anyio import CancelScope
    from litestar.types import Receive, Scope, Send

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.downloads.answer import DownloadAnswer, ObjectFacts
    from litestar_filestore.downloads.download_config import Delivery, DownloadConfig
    from litestar_filestore.sansio.ranges import ByteRange, RangesBody

__all__ = (
    "Handover",
    "Transfer",
    "choose_delivery",
    "object_bytes",
    "redirect_url",
    "send_pieces",
)


async def object_bytes(
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
        "The object is shorter than its row says", operation="get", backend=file.backend_key, key=file.key
    )


async def send_pieces(
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


_PATHSEND = "http.response.pathsend"
_WHOLE = 200


class Transfer(NamedTuple):
    """The bytes of one answer on their way."""

    file: FileObject
    """Where they are."""
    facts: ObjectFacts
    """What is known about them."""
    answer: DownloadAnswer
    """Which of them are wanted."""
    delivery: Delivery
    """What the application wishes."""
    config: DownloadConfig
    """What it can do."""
    scope: Scope
    """What the server can do."""


class Handover(NamedTuple):
    """What is sent in place of a body; nothing of it for a body of our own."""

    headers: dict[str, str] | None = None
    """Tell a server in front where the object is."""
    path: Path | None = None
    """A local file for the ASGI server."""


async def choose_delivery(transfer: Transfer) -> Handover:
    """Return who sends the bytes of an answer that has some.

    Raises:
        ConfigurationError: If ``accel`` is asked for, and the server in front reaches no such object.
        ObjectNotFoundError: If somebody else would send a file that is not there.
        InvalidKeyError: If a symbolic link stands in the path of that file.
        ObjectChangedError: If that file has another size.
    """
    file, facts, answer, delivery, _, scope = transfer
    if delivery in {"auto", "accel"} and (headers := await _front_headers(transfer)) is not None:
        return Handover(headers=headers)
    if delivery == "accel" and answer.frame is None:
        raise ConfigurationError(
            "The server in front is not configured to send objects of this backend", backend=file.backend_key
        )
    if delivery in {"auto", "pathsend"} and answer.status_code == _WHOLE and _has_pathsend(scope):
        path = _local_path(file)
        if path is not None:
            await _check_object(file, facts.size)
            return Handover(path=path)
    return Handover()


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


def _has_pathsend(scope: Scope) -> bool:
    return _PATHSEND in (cast("dict[str, Any]", scope).get("extensions") or {})


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
            "The object is not as long as its row says", operation="get", backend=file.backend_key, key=file.key
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
