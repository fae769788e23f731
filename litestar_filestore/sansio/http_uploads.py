"""Reads and writes the headers of "Resumable Uploads for HTTP", a draft of the IETF.

Source: draft-ietf-httpbis-resumable-upload, interop version 8. Its fields are structured (RFC 9651). The draft wants a
malformed one to be treated as if it were missing. Header names are in lower case where they are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from litestar_filestore.errors import TusError
from litestar_filestore.sansio.declared import declared_type
from litestar_filestore.sansio.disposition import declared_filename
from litestar_filestore.sansio.tus import (
    announced_bytes,
    content_checksum,
    parse_metadata,
    too_long,
    write_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.sansio.tus import Checksum

__all__ = (
    "EXPOSED_HEADERS",
    "MEDIA_TYPE",
    "VERSION",
    "VERSION_HEADER",
    "Append",
    "Creation",
    "check_version",
    "new_length",
    "read_append",
    "read_creation",
    "refuse_more",
    "state_headers",
    "type_and_title",
    "upload_limit",
)

VERSION: Final = "8"
"""The iteration of the draft. The published standard will not have this number."""
VERSION_HEADER: Final = "Upload-Draft-Interop-Version"
MEDIA_TYPE: Final = "application/partial-upload"
"""Type of the bytes of a PATCH."""
EXPOSED_HEADERS: Final = f"Upload-Complete,Upload-Limit,Accept-Patch,{VERSION_HEADER}"
"""Headers that scripts of pages from other origins have to see, besides those of tus."""

_INCONSISTENT: Final = "inconsistent-upload-length"
_COMPLETED: Final = "completed-upload"
_TYPES: Final = "https://iana.org/assignments/http-problem-types"
_TITLES: Final = {
    "mismatching-upload-offset": "The offset of the request is not that of the upload",
    _COMPLETED: "The upload is complete",
    _INCONSISTENT: "The lengths of the upload contradict each other",
}
_PARAMETERS: Final = r'(?: *; *[a-z*][a-z0-9_.*-]*(?:=(?:[^",; ]+|"[^"\\]*"))?)*'
_BOOLEAN: Final = re.compile(rf" *\?([01]){_PARAMETERS} *")
_INTEGER: Final = re.compile(rf" *([0-9]{{1,15}}){_PARAMETERS} *")


class Append(NamedTuple):
    """A request that sends the next bytes."""

    offset: int
    """Where they belong."""
    ends: bool
    """Whether the content ends with them."""
    length: int | None
    """Length of the whole content, if ``Upload-Length`` tells it."""
    announced: int | None
    """Number of bytes, if it is known."""
    checksum: Checksum | None
    """Their digest."""


class Creation(NamedTuple):
    """A request that creates an upload."""

    metadata: str | None
    """Filename and media type of the content, as ``Upload-Metadata`` of tus has them."""
    first: Append
    """The first bytes; there may be none."""


def check_version(headers: Mapping[str, str]) -> None:
    """Refuse a request of another iteration of the draft before anything of it is processed.

    Raises:
        TusError: 400.
    """
    if headers.get(VERSION_HEADER.lower(), "").strip() != VERSION:
        raise TusError(f"{VERSION_HEADER} must be {VERSION}: this server knows no other iteration of the draft")


def read_creation(headers: Mapping[str, str]) -> Creation:
    """Read a request that creates an upload.

    Args:
        headers: By name in lower case; the values of repeated ones are joined.

    Raises:
        TusError: 400 for headers that are missing, or digests that are malformed, 413 for a filename that is too long,
            415 for a form, and for content that is encoded.
    """
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise TusError("The file would be stored encoded: send it without Content-Encoding", status_code=415)
    type_ = declared_type(headers.get("content-type"))
    if type_ == "multipart/form-data":
        raise TusError("The content has to be the file itself, not a form", status_code=415)
    names = {"filename": declared_filename(headers.get("content-disposition")), "filetype": type_}
    metadata = write_metadata({name: value for name, value in names.items() if value}) or None
    parse_metadata(metadata)
    return Creation(metadata, _append(headers, 0))


def read_append(headers: Mapping[str, str]) -> Append:
    """Read a request that sends the next bytes.

    Raises:
        TusError: 400 for a header that is missing, and for digests that are malformed; 415 for a body of another type.
    """
    if declared_type(headers.get("content-type")) != MEDIA_TYPE:
        raise TusError(f"The Content-Type of the bytes must be {MEDIA_TYPE}", status_code=415)
    if (offset := _integer(headers, "upload-offset")) is None:
        raise TusError("Upload-Offset is missing, or is no number: say where the bytes belong")
    return _append(headers, offset)


def _append(headers: Mapping[str, str], offset: int) -> Append:
    ends = _BOOLEAN.fullmatch(headers.get("upload-complete", ""))
    if ends is None:
        raise TusError("Upload-Complete must be ?1 if the content ends with this request, and ?0 if it does not")
    is_whole = offset == 0 and ends[1] == "1"
    return Append(
        offset,
        ends=ends[1] == "1",
        length=_integer(headers, "upload-length"),
        announced=announced_bytes(headers),
        checksum=content_checksum(headers, *(("repr-digest",) if is_whole else ())),
    )


def _integer(headers: Mapping[str, str], name: str) -> int | None:
    found = _INTEGER.fullmatch(headers.get(name, ""))
    return None if found is None else int(found[1])


def new_length(known: int | None, request: Append, *, max_bytes: int) -> int | None:
    """Return the length of the whole content after a request; ``None`` if it still is not known.

    Args:
        known: The length so far.
        request: The request; its offset is the right one.
        max_bytes: Largest content.

    Raises:
        TusError: 400 if the lengths that were told contradict each other, or the body is longer; 413 if the content is
            too long.
    """
    end = request.offset + (request.announced or 0)
    by_body = end if request.ends and request.announced is not None else None
    told = {each for each in (known, request.length, by_body) if each is not None}
    if len(told) > 1 or end > min(told, default=end):
        lengths = ", ".join(map(str, sorted({*told, end})))
        raise TusError(f"The upload cannot have several lengths: {lengths}. Send what is left", problem=_INCONSISTENT)
    if max({end, *told}) > max_bytes:
        raise too_long(max_bytes)
    return told.pop() if told else None


def refuse_more(request: Append) -> TusError:
    """Return the refusal of bytes for an upload that is complete."""
    problem = _COMPLETED if request.announced == 0 else _INCONSISTENT
    return TusError("The upload is complete: ask for it with HEAD, and send no more", problem=problem)


# -- answers


def state_headers(*, offset: int, length: int | None, is_complete: bool) -> dict[str, str]:
    """Return the headers that describe an upload.

    Args:
        offset: How much has come, in bytes.
        length: How much there is; ``None`` if that is not known yet.
        is_complete: Whether its client has said that nothing more comes.
    """
    headers = {"Upload-Offset": str(offset), "Upload-Complete": f"?{is_complete:d}"}
    return headers if length is None else {**headers, "Upload-Length": str(length)}


def upload_limit(max_bytes: int, life_seconds: float) -> dict[str, str]:
    """Return the header with the limits.

    Args:
        max_bytes: Largest content.
        life_seconds: How long an upload is kept from now on.
    """
    return {"Upload-Limit": f"max-size={max_bytes}, max-age={max(0, int(life_seconds))}"}


def type_and_title(problem: str | None) -> tuple[str | None, str | None]:
    """Return the URI and the title of a problem type (RFC 9457) of the draft; ``None`` for no type."""
    return (None, None) if problem is None else (f"{_TYPES}#{problem}", _TITLES[problem])
