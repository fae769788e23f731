"""The bytes of an answer: exactly those that were announced, or a connection that breaks."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from anyio import create_task_group

from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from anyio import CancelScope
    from litestar.types import Receive, Send

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.sansio.byteranges import RangesBody
    from litestar_filestore.sansio.ranges import ByteRange

__all__ = ("object_bytes", "send_pieces")


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
