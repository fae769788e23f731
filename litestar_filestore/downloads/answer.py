"""Decides the answer to a download: status, headers and ranges, from the request and the facts about the object."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from litestar.exceptions import ClientException

from litestar_filestore.sansio.active_types import PDF_TYPE, served_type, type_name
from litestar_filestore.sansio.conditional import Validators, check_preconditions, if_range_holds, normal_etag
from litestar_filestore.sansio.disposition import aligned_filename, content_disposition
from litestar_filestore.sansio.ranges import ByteRange, RangesBody, parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.file_object import Disposition, FileObject
    from litestar_filestore.downloads.download_config import DownloadConfig

__all__ = (
    "DownloadAnswer",
    "ObjectFacts",
    "PreconditionFailedException",
    "RangeNotSatisfiableException",
    "answer_request",
    "content_headers",
    "object_facts",
    "protective_headers",
)


class PreconditionFailedException(ClientException):
    """The file is not as a condition of the request wants it, for example ``If-Match`` (RFC 9110 section 13.1)."""

    status_code = 412


class RangeNotSatisfiableException(ClientException):
    """No range of the request begins within the file."""

    status_code = 416


_NOTHING = "default-src 'none'"
# A browser shows a picture or a video in a page that it generates, which has a style and loads the file once more.
_VIEWER = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"


def content_headers(
    content_type: str, filename: str, disposition: Disposition, config: DownloadConfig
) -> dict[str, str]:
    """Return the type and the disposition of a file.

    Args:
        content_type: The verified type.
        filename: Display name.
        disposition: The disposition that the application asks for; a type that may not be shown is saved all the same.
        config: Names the types that may be shown.
    """
    name = type_name(content_type)
    kind: Disposition = "inline" if disposition == "inline" and name in config.inline_types else "attachment"
    return {
        "content-type": served_type(content_type, config.served_types),
        "content-disposition": content_disposition(kind, aligned_filename(filename, name)),
    }


def protective_headers(content_type: str, disposition: Disposition, config: DownloadConfig) -> dict[str, str]:
    """Return the headers that keep content from acting on behalf of the site that serves it.

    No single header is enough: the disposition and the type keep a browser from showing active content, the policy
    keeps it from running any that is shown all the same, and the others keep other sites and leftovers away.
    """
    name = type_name(content_type)
    is_inline = disposition == "inline" and name in config.inline_types
    policy = f"{_VIEWER if is_inline else _NOTHING}; frame-ancestors 'none'"
    if not (is_inline and name == PDF_TYPE):  # Chromium does not start its PDF viewer in a sandboxed document
        policy = f"{policy}; sandbox"
    return {
        # Browsers must not guess the type: a script hidden in a picture stays a picture.
        "x-content-type-options": "nosniff",
        "content-security-policy": policy,
        # Other sites cannot load the file into their process, so they cannot read it through side channels.
        "cross-origin-resource-policy": config.cross_origin_resource_policy,
        "cross-origin-opener-policy": "same-origin",
        # The address of a file may be all that is needed to read it.
        "referrer-policy": "no-referrer",
    }


class ObjectFacts(NamedTuple):
    """Facts about an object, known before it is read."""

    size: int
    """Length in bytes."""
    validators: Validators
    """Its validators, which distinguish its versions."""
    content_type: str
    """Verified media type."""


class DownloadAnswer(NamedTuple):
    """Status, headers and parts of the object."""

    status_code: int
    """200, 206, 304, 412 or, raised instead, 416."""
    headers: dict[str, str]
    """The headers that depend on the request, by lower-case name."""
    ranges: tuple[ByteRange, ...] = ()
    """The parts of the object to send; empty for an empty body."""
    frame: RangesBody | None = None
    """The multipart framing of several ranges."""


async def object_facts(file: FileObject, content_type: str | None = None) -> ObjectFacts:
    """Return the facts about a file; the store is asked only for facts that the row lacks.

    Raises:
        ObjectNotFoundError: If the store is asked and has no such object.
    """
    size, etag, modified = file.size, file.etag, file.last_modified
    kind = content_type or file.content_type
    if size is None or etag is None:
        info = await file.head_async()
        size, etag, modified = info.size, info.etag, info.last_modified
    # Never in the future: a client would consider such a date an error (RFC 9110 section 8.8.2.1).
    seconds = min(int(modified), int(time.time())) if modified is not None else None
    return ObjectFacts(size, Validators(normal_etag(etag), seconds), kind)


def answer_request(
    method: str, headers: Mapping[str, str], facts: ObjectFacts, *, part_type: str, max_ranges: int
) -> DownloadAnswer:
    """Answer a request, in the order of RFC 9110 section 13.2.2.

    Args:
        method: ``"GET"`` or ``"HEAD"``; a range is for GET only (section 14.2).
        headers: The request's headers by lower-case name; several lines of one name are joined by commas.
        facts: Facts about the object.
        part_type: Media type of the parts, if there are several.
        max_ranges: As in `parse_ranges`.

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
