"""What a request for an object is answered with, before a byte of the object is read."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.sansio.byteranges import RangesBody
from litestar_filestore.sansio.conditional import Validators, check_preconditions, if_range_holds, normal_etag
from litestar_filestore.sansio.ranges import ByteRange, parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.file_object import FileObject

__all__ = ("DownloadAnswer", "ObjectFacts", "answer_request", "object_facts")


class ObjectFacts(NamedTuple):
    """What is known about an object before it is read."""

    size: int
    """Length in bytes."""
    validators: Validators
    """What tells its versions apart."""
    content_type: str
    """Verified media type."""


class DownloadAnswer(NamedTuple):
    """Status, headers and which bytes."""

    status_code: int
    """200, 206, 304, 412 or, raised instead, 416."""
    headers: dict[str, str]
    """Those that depend on the request, by lower-case name."""
    ranges: tuple[ByteRange, ...] = ()
    """What is sent of the object; empty for an empty body."""
    frame: RangesBody | None = None
    """Stands around several ranges."""


async def object_facts(file: FileObject, content_type: str | None = None) -> ObjectFacts:
    """Return what the row knows of a file, and ask the store only for what is missing there.

    Raises:
        ObjectNotFoundError: If the store is asked and has no such object.
    """
    size, etag, modified = file.size, file.etag, file.last_modified
    kind = content_type or file.content_type
    if size is None or etag is None:
        info = await file.head_async()
        size, etag, modified = info.size, info.etag, info.last_modified
    # Not in the future: a client would take such a date for a mistake (RFC 9110 section 8.8.2.1).
    seconds = min(int(modified), int(time.time())) if modified is not None else None
    return ObjectFacts(size, Validators(normal_etag(etag), seconds), kind)


def answer_request(
    method: str, headers: Mapping[str, str], facts: ObjectFacts, *, part_type: str, max_ranges: int
) -> DownloadAnswer:
    """Return what a request is answered with, in the order of RFC 9110 section 13.2.2.

    Args:
        method: ``"GET"`` or ``"HEAD"``; a range is for GET only (section 14.2).
        headers: Of the request by lower-case name; several lines of one name joined by commas.
        facts: About the object.
        part_type: Media type of the parts, where there are several.
        max_ranges: As `parse_ranges` takes it.

    Raises:
        RangeNotSatisfiableError: If no range begins within the object.
    """
    validators = facts.validators
    named = {"etag": validators.etag, "last-modified": validators.http_date}
    common = {"accept-ranges": "bytes", **{name: value for name, value in named.items() if value is not None}}
    status_code = check_preconditions(method, headers, validators)
    if status_code != 200:  # noqa: PLR2004  # the status itself says it best
        return DownloadAnswer(status_code, common)
    ranges = _ranges(method, headers, facts, max_ranges)
    if not ranges:
        whole = (ByteRange(0, facts.size),) if facts.size else ()
        return DownloadAnswer(200, {**common, "content-length": str(facts.size)}, whole)
    if len(ranges) == 1:
        part = ranges[0]
        ranged = {"content-range": part.content_range(facts.size), "content-length": str(part.length)}
        return DownloadAnswer(206, {**common, **ranged}, ranges)
    frame = RangesBody(ranges, facts.size, part_type, secrets.token_hex(16))
    framed = {"content-type": frame.content_type, "content-length": str(frame.content_length)}
    return DownloadAnswer(206, {**common, **framed}, ranges, frame)


def _ranges(method: str, headers: Mapping[str, str], facts: ObjectFacts, max_ranges: int) -> tuple[ByteRange, ...]:
    wanted = headers.get("range")
    if method != "GET" or wanted is None:
        return ()
    if_range = headers.get("if-range")
    if if_range is not None and not if_range_holds(if_range, facts.validators):
        return ()
    return parse_ranges(wanted, facts.size, max_ranges=max_ranges)
