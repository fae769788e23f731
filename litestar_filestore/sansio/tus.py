"""Reads and writes the headers of tus 1.0.0, the protocol for resumable uploads.

Source: https://tus.io/protocols/resumable-upload (version 1.0.0). Header names are in lower case where they are read.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from litestar_filestore.errors import InvalidArgumentError, TusError
from litestar_filestore.sansio.declared import declared_type
from litestar_filestore.sansio.digests import AnnouncedDigests

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "ALGORITHMS",
    "EXPOSED_HEADERS",
    "EXTENSIONS",
    "MAX_METADATA_CHARACTERS",
    "METHODS",
    "RESULT_HEADER",
    "VERSION",
    "Append",
    "Checksum",
    "Creation",
    "announced_bytes",
    "capabilities",
    "check_version",
    "content_checksum",
    "http_date",
    "new_length",
    "overridden_method",
    "parse_metadata",
    "partial_ids",
    "read_append",
    "read_creation",
    "state_headers",
    "too_long",
    "upload_names",
    "write_metadata",
)

VERSION: Final = "1.0.0"
# Without spaces: TUSKit splits these lists at the commas and does not trim.
EXTENSIONS: Final = "creation,creation-with-upload,creation-defer-length,termination,expiration,checksum,concatenation"
ALGORITHMS: Final = ("sha1", "sha256", "md5")
"""Names of checksums, which are hashlib's too; ``sha1`` is the one that every server has to support."""
METHODS: Final = ("HEAD", "PATCH", "DELETE")
"""Methods of an upload's URL; some networks let only POST pass, with ``X-HTTP-Method-Override``."""
RESULT_HEADER: Final = "Filestore-Reference"
"""Header with the reference of a complete upload."""
EXPOSED_HEADERS: Final = (
    "Location,Upload-Offset,Upload-Length,Upload-Expires,Upload-Metadata,Upload-Defer-Length,Upload-Concat,"
    f"Tus-Version,Tus-Resumable,Tus-Max-Size,Tus-Extension,Tus-Checksum-Algorithm,{RESULT_HEADER}"
)
"""Headers that scripts of pages from other origins have to see."""
MAX_METADATA_CHARACTERS: Final = 8192
"""Longest ``Upload-Metadata``: it is kept with the upload and comes back with every HEAD."""
_MAX_CONCAT_CHARACTERS: Final = 32768

_DIGESTS: Final = frozenset({"content-digest", "content-md5"})
_OFFSET_TYPE: Final = "application/offset+octet-stream"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")  # fits into BIGINT
_KEY: Final = re.compile(r"[!-+\--~]+")  # printable ASCII without space and comma
_ID: Final = re.compile(r"[a-z0-9]{32}")


class Checksum(NamedTuple):
    """The checksum of the body of one request."""

    algorithm: str
    """One of `ALGORITHMS`."""
    digest: bytes
    """The digest that the body must have."""


class Creation(NamedTuple):
    """A request that creates an upload."""

    length: int | None
    """Length of the whole content; ``None`` if it comes later, and for a final upload."""
    metadata: str | None
    """``Upload-Metadata`` as it was sent; it is well-formed."""
    concat: str | None
    """``Upload-Concat`` as it was sent."""
    has_body: bool
    """Whether the first bytes come with the request (creation-with-upload)."""
    checksum: Checksum | None
    """Checksum of those bytes."""

    @property
    def is_final(self) -> bool:
        """Whether it joins partial uploads."""
        return self.concat is not None and self.concat != "partial"


class Append(NamedTuple):
    """A request that sends the next bytes."""

    offset: int
    """Where they belong."""
    length: int | None
    """Length of the whole content, if it is declared only now."""
    announced: int | None
    """Number of bytes, if it is known."""
    checksum: Checksum | None
    """Their checksum."""


def capabilities(max_bytes: int | None) -> dict[str, str]:
    """Return the headers of an answer to OPTIONS.

    Args:
        max_bytes: Largest content; ``None`` if no limit is known.
    """
    headers = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Checksum-Algorithm": ",".join(ALGORITHMS)}
    return headers if max_bytes is None else {**headers, "Tus-Max-Size": str(max_bytes)}


def check_version(headers: Mapping[str, str]) -> None:
    """Refuse a request of another version before anything of it is processed.

    Raises:
        TusError: 412.
    """
    if headers.get("tus-resumable") != VERSION:
        raise TusError(f"Tus-Resumable must be {VERSION}: send this header with every request", status_code=412)


def overridden_method(headers: Mapping[str, str]) -> str:
    """Return the method that a POST to an upload's URL stands for.

    Raises:
        TusError: 405 if it is none of `METHODS`.
    """
    method = headers.get("x-http-method-override", "").strip().upper()
    if method not in METHODS:
        raise TusError(f"POST needs X-HTTP-Method-Override here, one of {', '.join(METHODS)}", status_code=405)
    return method


def read_creation(headers: Mapping[str, str], *, max_bytes: int) -> Creation:
    """Read a request that creates an upload.

    Args:
        headers: By name in lower case; the values of repeated ones are joined.
        max_bytes: Largest content.

    Raises:
        TusError: 400 for headers that are malformed or contradict each other, 413 for a content or metadata that is too
            large, 415 for a body of another type.
    """
    concat = _concat(headers.get("upload-concat"))
    length = _new_length(headers, is_final=concat not in {None, "partial"})
    if length is not None and length > max_bytes:
        raise too_long(max_bytes)
    announced = announced_bytes(headers)
    has_body = declared_type(headers.get("content-type")) == _OFFSET_TYPE
    if not has_body and (announced or "transfer-encoding" in headers):
        raise _wrong_type()
    if length is not None and announced is not None and announced > length:
        raise TusError("The body is longer than Upload-Length", status_code=413)
    metadata = headers.get("upload-metadata") or None
    parse_metadata(metadata)
    return Creation(length, metadata, concat, has_body, _checksum(headers))


def _new_length(headers: Mapping[str, str], *, is_final: bool) -> int | None:
    length, deferred = headers.get("upload-length"), headers.get("upload-defer-length")
    if is_final:
        if length is not None or deferred is not None:
            raise TusError("A final upload has the length of its parts: leave out Upload-Length")
        return None
    if (length is None) == (deferred is None):
        raise TusError("Send either Upload-Length or Upload-Defer-Length")
    if length is not None:
        return _number("Upload-Length", length)
    if deferred != "1":
        raise TusError("Upload-Defer-Length can only be 1")
    return None


def read_append(headers: Mapping[str, str]) -> Append:
    """Read a request that sends the next bytes.

    Raises:
        TusError: 400 for a missing or malformed header, 415 for a body of another type.
    """
    if declared_type(headers.get("content-type")) != _OFFSET_TYPE:
        raise _wrong_type()
    if (offset := headers.get("upload-offset")) is None:
        raise TusError("Upload-Offset is missing: say where the bytes belong")
    length = headers.get("upload-length")
    return Append(
        offset=_number("Upload-Offset", offset),
        length=None if length is None else _number("Upload-Length", length),
        announced=announced_bytes(headers),
        checksum=_checksum(headers),
    )


def new_length(known: int | None, request: Append, *, max_bytes: int) -> int | None:
    """Return the length of the whole content after a request that may declare it.

    Args:
        known: The length so far; ``None`` if it was deferred.
        request: The request; its offset is the right one.
        max_bytes: Largest content.

    Raises:
        TusError: 400 if it would change or is shorter than what has come, 413 if it or the body is too long.
    """
    length = known if request.length is None else request.length
    if known is not None and length != known:
        raise TusError(f"Upload-Length is {known} already, and cannot be changed")
    if length is not None and length < request.offset:
        raise TusError(f"Upload-Length cannot be less than the {request.offset} bytes that have come")
    if length is not None and length > max_bytes:
        raise too_long(max_bytes)
    end = request.offset + (request.announced or 0)
    if length is not None and end > length:
        raise TusError(f"The body would end at {end}, beyond Upload-Length, which is {length}", status_code=413)
    if end > max_bytes:
        raise too_long(max_bytes)
    return length


def too_long(max_bytes: int) -> TusError:
    """Return the refusal of content that is longer than allowed."""
    return TusError(f"The file is larger than {max_bytes} bytes: send a smaller one", status_code=413)


def _wrong_type() -> TusError:
    return TusError(f"The Content-Type of the bytes must be {_OFFSET_TYPE}", status_code=415)


def _number(name: str, value: str) -> int:
    if _NUMBER.fullmatch(value) is None:
        raise TusError(f"{name} must be a number of bytes")
    return int(value)


def announced_bytes(headers: Mapping[str, str]) -> int | None:
    """Return the length of a body; ``None`` if it is not known before its end.

    Raises:
        TusError: 400 if ``Content-Length`` is no number.
    """
    length = headers.get("content-length")
    return None if length is None else _number("Content-Length", length)


def content_checksum(headers: Mapping[str, str], *others: str) -> Checksum | None:
    """Return the digest that a body must have by RFC 9530 or RFC 1864; ``None`` if none is announced.

    Args:
        headers: The headers.
        others: Further headers that announce it.

    Raises:
        TusError: 400 if one is malformed.
    """
    names = _DIGESTS.union(others).intersection(headers)
    try:
        strongest = AnnouncedDigests((name, headers[name]) for name in names).strongest
    except InvalidArgumentError as error:
        raise TusError(error.detail) from error
    return None if strongest is None else Checksum(*strongest)


def _checksum(headers: Mapping[str, str]) -> Checksum | None:
    if (value := headers.get("upload-checksum")) is None:
        return None if _DIGESTS.isdisjoint(headers) else content_checksum(headers)
    algorithm, _, encoded = value.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise TusError(f"The algorithm of Upload-Checksum must be one of {', '.join(ALGORITHMS)}")
    digest = _decode(encoded)
    if digest is None or len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise TusError(f"Upload-Checksum must be written as: {algorithm} <base64 of the digest>")
    return Checksum(algorithm, digest)


def _decode(encoded: str) -> bytes | None:
    try:
        return b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


# -- metadata


def parse_metadata(value: str | None) -> dict[str, bytes]:
    """Return the metadata of an upload by name.

    Args:
        value: ``Upload-Metadata``; tuspy sends an empty one if there is none.

    Raises:
        TusError: 400 if a name is empty, not ASCII or there twice, or a value is not base64; 413 if it is too long.
    """
    if value is None or not value.strip():
        return {}
    if len(value) > MAX_METADATA_CHARACTERS:
        raise TusError(
            f"Upload-Metadata is longer than {MAX_METADATA_CHARACTERS} characters: send less", status_code=413
        )
    found: dict[str, bytes] = {}
    for pair in value.split(","):
        name, _, encoded = pair.strip(" \t").partition(" ")
        content = _decode(encoded.strip(" \t"))
        if _KEY.fullmatch(name) is None or content is None:
            raise TusError("Upload-Metadata must be written as: name <base64>,name <base64>")
        if name in found:
            raise TusError(f"Upload-Metadata has the name {name} twice")
        found[name] = content
    return found


def write_metadata(values: Mapping[str, str]) -> str:
    """Return ``Upload-Metadata`` with these texts. `parse_metadata` checks it."""
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in values.items())


def upload_names(metadata: Mapping[str, bytes]) -> tuple[str, str | None]:
    """Return the filename and the media type that a client declares; neither is trusted.

    Clients have agreed on ``filename`` and ``filetype``. Uppy sends the word null for what it does not know.
    """
    filename = _text(metadata, "filename", "name")
    return filename or "", declared_type(_text(metadata, "filetype", "type"))


def _text(metadata: Mapping[str, bytes], *names: str) -> str | None:
    texts = (metadata[name].decode("utf-8", "replace") for name in names if name in metadata)
    return next((text for text in texts if text not in {"", "null"}), None)


# -- concatenation


def _concat(value: str | None) -> str | None:
    if value is None:
        return None
    if value == "partial" or (value.startswith("final;") and len(value) <= _MAX_CONCAT_CHARACTERS):
        return value
    raise TusError("Upload-Concat must be partial, or final; and the URLs of the partial uploads")


def partial_ids(concat: str, path: str) -> list[str]:
    """Return the ids of the uploads that a final upload joins, in their order; one may be there several times.

    A URL only selects among the caller's own uploads. It is never fetched and never becomes a name in a store: that
    would let a client read whatever the server can reach.

    Args:
        concat: ``Upload-Concat`` of a final upload.
        path: Path below which the uploads are.

    Raises:
        TusError: 400 if there is none, or a URL is not of an upload below `path`.
    """
    urls = concat.removeprefix("final;").split()
    if not urls:
        raise TusError("Upload-Concat names no partial upload")
    return [_id_in(url, path.rstrip("/")) for url in urls]


def _id_in(url: str, path: str) -> str:
    try:
        before, _, id_ = urlsplit(url).path.rstrip("/").rpartition("/")
    except ValueError:
        before, id_ = "", ""
    # A proxy may serve the path below another prefix.
    if _ID.fullmatch(id_) is None or not before.endswith(path):
        raise TusError("Upload-Concat may only name partial uploads of this URL")
    return id_


# -- answers


def state_headers(
    *, offset: int, length: int | None, metadata: str | None = None, concat: str | None = None
) -> dict[str, str]:
    """Return the headers with which HEAD describes an upload; metadata and concatenation come back as they were sent.

    Args:
        offset: How much has come, in bytes.
        length: How much there is; ``None`` if that is not known yet.
        metadata: ``Upload-Metadata`` of its creation.
        concat: ``Upload-Concat`` of its creation.
    """
    known = {"Upload-Length": None if length is None else str(length), "Upload-Metadata": metadata}
    deferred = "1" if length is None else None
    headers = {"Upload-Offset": str(offset), **known, "Upload-Defer-Length": deferred, "Upload-Concat": concat}
    return {name: value for name, value in headers.items() if value is not None}


def http_date(seconds: float) -> str:
    """Return a POSIX time as HTTP writes it (IMF-fixdate, RFC 9110 §5.6.7)."""
    return formatdate(seconds, usegmt=True)
