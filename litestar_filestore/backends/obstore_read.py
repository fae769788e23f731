"""Reading objects by ranges through obstore: the requests, and the sync read.

obstore's own stream of a response costs ten times the processor time of ranged requests, and a range can be asked for
again where a stream has to start over. What is read belongs to one version of the object: each request names the
entity tag of the first, and each answer is compared with the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import obstore

from litestar_filestore.backends.obstore_errors import is_range_refusal
from litestar_filestore.errors import ObjectChangedError, RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ("FIRST_BYTES", "LARGEST_BYTES", "Part", "read", "refuse_range", "request_async")

FIRST_BYTES = 1024 * 1024
"""Size of the first request: small objects come whole, and the first byte of large ones soon."""
LARGEST_BYTES = 4 * 1024 * 1024
"""Size up to which the requests grow. Larger ones gain nothing and fall out of the processor's cache."""


class Part(NamedTuple):
    """The answer to a request."""

    meta: ObjectMeta
    content: memoryview
    """The bytes where the library has them: whoever hands them on copies them."""


def read(store: ObjectStore, path: str, start: int, end: int | None) -> Iterator[bytes]:
    """Yield the bytes of a range, one request after the other; see `Driver.get`."""
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
    """Raise unless the object is simply empty; stores refuse every range of an empty object.

    Raises:
        RangeNotSatisfiableError: If `start` is behind the last of `size` bytes.
        Exception: `error`, if it has another reason.
    """
    if start == 0 and size == 0:
        return
    if start >= size:
        raise RangeNotSatisfiableError("The range starts behind the end of the object", size=size) from error
    raise error


def _get_options(start: int, stop: int, seen: ObjectMeta | None) -> GetOptions:
    options: GetOptions = {"range": (start, stop)}
    etag = seen["e_tag"] if seen is not None else None
    # A weak tag never matches in If-Match (RFC 9110 §13.1.1): the answers are compared instead.
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
    """Request the bytes in [`start`, `stop`), of the version that `seen` describes where one was seen.

    Raises:
        ObjectChangedError: If that version is gone, or the answer is not what was asked for.
    """
    try:
        result = await obstore.get_async(store, path, options=_get_options(start, stop, seen))
        content = memoryview(await result.bytes_async())
    except Exception as error:
        _raise_if_gone(error, seen)
        raise
    return _checked(result, content, start, stop, seen)


def _raise_if_gone(error: Exception, seen: ObjectMeta | None) -> None:
    """Tell a deleted or shortened object from one that was never there."""
    if seen is not None and (isinstance(error, FileNotFoundError) or is_range_refusal(error)):
        raise ObjectChangedError("The object was deleted or cut while it was being read") from error


def _checked(result: GetResult, content: memoryview, start: int, stop: int, seen: ObjectMeta | None) -> Part:
    meta = result.meta
    if seen is not None and _version(meta) != _version(seen):
        raise ObjectChangedError("The object was replaced while it was being read")
    if len(content) != min(stop, meta["size"]) - start:
        raise ObjectChangedError("The store returned another number of bytes than the range holds")
    return Part(meta, content)


def _version(meta: ObjectMeta) -> tuple[object, ...]:
    return (meta["size"], meta["e_tag"]) if meta["e_tag"] else (meta["size"], meta["last_modified"])
