"""Decides the answer to a download: status, headers and ranges, from the request and the facts about the object."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar.exceptions import ClientException

from litestar_filestore.downloads.download_config import DownloadConfig
from litestar_filestore.sansio.active_types import PDF_TYPE, served_type, type_name
from litestar_filestore.sansio.conditional import (
    Validators,
    check_preconditions,
    has_conditions,
    if_range_holds,
    normal_etag,
)
from litestar_filestore.sansio.disposition import aligned_filename, content_disposition
from litestar_filestore.sansio.ranges import ByteRange, RangesBody, parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import Scope

    from litestar_filestore.core.file_object import Disposition, FileObject
    from litestar_filestore.core.types import ObjectInfo

__all__ = (
    "AnswerHeaders",
    "DownloadAnswer",
    "DownloadContext",
    "ObjectFacts",
    "PreconditionFailedException",
    "RangeNotSatisfiableException",
    "answer_request",
    "content_headers",
    "download_context",
    "known_facts",
    "object_facts",
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


def _protective_headers(content_type: str, disposition: Disposition, config: DownloadConfig) -> dict[str, str]:
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


# Headers that only the answer itself can know, and cookies: a copy of the file must not hold anybody's session.
_OURS = frozenset({"set-cookie", "content-encoding", "transfer-encoding", "content-length", "content-range"})
_REMEMBERED_FILES = 1024


class AnswerHeaders:
    """The headers that depend on a file's row and the application alone. Those of recent files are remembered."""

    def __init__(self, config: DownloadConfig) -> None:
        """Make the headers that `config` asks for."""
        self.config = config
        self._own = _kept(config.headers)
        self._of_file = lru_cache(maxsize=_REMEMBERED_FILES)(self._make)

    def _make(
        self, content_type: str, filename: str, disposition: Disposition
    ) -> tuple[dict[str, str], dict[str, str]]:
        protective = _protective_headers(content_type, disposition, self.config)
        return protective, content_headers(content_type, filename, disposition, self.config)

    def content(self, content_type: str, filename: str, disposition: Disposition) -> dict[str, str]:
        """Return what `content_headers` returns."""
        return self._of_file(content_type, filename, disposition)[1]

    def kept(self, cache_control: str | None, more: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that the application can set, for any answer.

        Args:
            cache_control: Value of ``Cache-Control``; ``None`` for the configuration's.
            more: Further headers of this answer.
        """
        own = {"cache-control": cache_control or self.config.cache_control, **self._own}
        return {**own, **_kept(more)} if more else own

    def whole(
        self, content_type: str, filename: str, disposition: Disposition, kept: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the headers of an answer with content: `kept` replaces those that protect, not those that describe."""
        protective, content = self._of_file(content_type, filename, disposition)
        return {**protective, **kept, **content}


def _kept(headers: Mapping[str, Any]) -> dict[str, str]:
    lowered = {name.lower(): str(value) for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name not in _OURS}


_SCOPE_KEY = "litestar_filestore.downloads"


@dataclass(slots=True)
class DownloadContext:
    """One request, as the plugin's middleware and a response see it."""

    headers: AnswerHeaders
    """Those of the application, with its configuration."""
    is_download: bool = False
    """Whether the answer is a file, to which middleware must add nothing."""


@cache
def _default_headers() -> AnswerHeaders:
    return AnswerHeaders(DownloadConfig())


def download_context(scope: Scope, headers: AnswerHeaders | None = None) -> DownloadContext:
    """Return the context of a request.

    Args:
        scope: Of the request.
        headers: Those of a new context; ``None`` returns the current context, or one with the defaults.
    """
    slots = cast("dict[str, Any]", scope)
    context: DownloadContext | None = slots.get(_SCOPE_KEY) if headers is None else None
    if context is None:
        context = slots[_SCOPE_KEY] = DownloadContext(headers or _default_headers())
    return context


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


def known_facts(
    file: FileObject, content_type: str | None = None, info: ObjectInfo | None = None
) -> ObjectFacts | None:
    """Return the facts about a file if its row has them, or else those in `info`; without either, ``None``."""
    known = file if file.size is not None and file.etag is not None else info
    if known is None or known.size is None:
        return None
    modified = known.last_modified
    # Never in the future: a client would consider such a date an error (RFC 9110 section 8.8.2.1).
    seconds = min(int(modified), int(time.time())) if modified is not None else None
    return ObjectFacts(known.size, Validators(normal_etag(known.etag), seconds), content_type or file.content_type)


async def object_facts(file: FileObject) -> ObjectFacts:
    """Return the facts about a file; the store is asked only for facts that the row lacks.

    Raises:
        ObjectNotFoundError: If the store is asked and has no such object.
    """
    facts = known_facts(file)
    return facts if facts is not None else cast("ObjectFacts", known_facts(file, info=await file.head_async()))


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
    common = {"accept-ranges": "bytes"}
    if validators.etag is not None:
        common["etag"] = validators.etag
    if (date := validators.http_date) is not None:
        common["last-modified"] = date
    status_code = check_preconditions(method, headers, validators) if has_conditions(headers) else 200
    if status_code != 200:  # noqa: PLR2004  # the status itself says it best
        return DownloadAnswer(status_code, common)
    ranges = _ranges(method, headers, facts, max_ranges) if "range" in headers else ()
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
    if method != "GET":
        return ()
    if_range = headers.get("if-range")
    if if_range is not None and not if_range_holds(if_range, facts.validators):
        return ()
    return parse_ranges(headers["range"], facts.size, max_ranges=max_ranges)
