"""Text of a client's headers, made to keep a parser busy."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import pytest

from litestar_filestore.errors import (
    InvalidArgumentError,
    InvalidTokenError,
    MultipartError,
    MultipartLimitError,
    RangeNotSatisfiableError,
)
from litestar_filestore.sansio.active_types import served_type
from litestar_filestore.sansio.conditional import (
    Validators,
    check_preconditions,
    if_range_holds,
    joined_headers,
    normal_etag,
    parse_http_date,
)
from litestar_filestore.sansio.digests import AnnouncedDigests
from litestar_filestore.sansio.disposition import aligned_filename, content_disposition, safe_filename
from litestar_filestore.sansio.multipart import FormParser, form_boundary
from litestar_filestore.sansio.ranges import parse_ranges
from litestar_filestore.sansio.tokens import KeyRing
from tests.effort import effort

SIZE = 128 * 1024
VALIDATORS = Validators('"abc"', 1_700_000_000)
RING = KeyRing(["kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"])
UNITS = (
    'W/"a",', '"a" ', '"', "W/", ",", " ", "\t", ", ", "\\", '\\"', ";", "; ", "a=", 'a="', "=", "bytes=", "bytes=0-0,",
    "0-0,", "-", "9", "a", ".", "/", "../", "\u202e", "\u0301", "\U0001f468\u200d", "\ufdfa", "%", "%41", "=?utf-8?B?",
    "=?", "?=", "sha-256=:AAAA:,", ":", "a/b;", "a.b.", "Mon, 01 Jan 2024 00:00:00 GMT",
    "\x00", "a:b\r\n", "\r\n", "--B",
    "\r\n--B\r\n", 'form-data; name="', "filename*=", "utf-8''",
)  # fmt: skip
REFUSED = (InvalidArgumentError, InvalidTokenError, MultipartError, MultipartLimitError, RangeNotSatisfiableError)


def parse_form(head: str) -> None:
    """Read a form whose first part begins with this."""
    parser = FormParser(b"B", max_parts=1000, max_headers=16, max_header_bytes=8192)
    body = b"--B\r\n" + head.encode("utf-8", "replace") + b"\r\n\r\nx\r\n--B--\r\n"
    for at in range(0, len(body), 16_384):
        list(parser.feed(body[at : at + 16_384]))


PARSERS: dict[str, Callable[[str], object]] = {
    "If-Match": lambda text: check_preconditions("PUT", {"if-match": text}, VALIDATORS),
    "If-None-Match": lambda text: check_preconditions("GET", {"if-none-match": text}, VALIDATORS),
    "If-Modified-Since": lambda text: check_preconditions("GET", {"if-modified-since": text}, VALIDATORS),
    "If-Unmodified-Since": lambda text: check_preconditions("PUT", {"if-unmodified-since": text}, VALIDATORS),
    "If-Range": lambda text: if_range_holds(text, VALIDATORS),
    "ETag": normal_etag,
    "date": parse_http_date,
    "lines": lambda text: joined_headers([(b"if-match", each.encode()) for each in text[:20_000]]),
    "Range": lambda text: parse_ranges(text, 10**6),
    "Range of bytes": lambda text: parse_ranges("bytes=" + text[:1018], 10**6),
    "Content-Type": served_type,
    "boundary": lambda text: form_boundary("multipart/form-data; boundary=" + text),
    "parameters": lambda text: form_boundary("multipart/form-data;" + text),
    "name": safe_filename,
    "name and type": lambda text: aligned_filename(safe_filename(text), "text/plain"),
    "Content-Disposition": lambda text: content_disposition("attachment", safe_filename(text)),
    "digest": lambda text: AnnouncedDigests([("repr-digest", text)]),
    "short digest": lambda text: AnnouncedDigests([("repr-digest", text[:1024])]),
    "MD5": lambda text: AnnouncedDigests([("content-md5", text[:1024])]),
    "token": lambda text: RING.read("download", text, now=0),
    "form": parse_form,
    "form's header": lambda text: parse_form("Content-Disposition: form-data; " + text),
    "form's short header": lambda text: parse_form("Content-Disposition: form-data; " + text[:8000]),
}


def parse(parser: str, text: str) -> None:
    """Read a text, which may be refused."""
    with contextlib.suppress(*REFUSED):
        PARSERS[parser](text)


@pytest.mark.parametrize("parser", PARSERS)
def test_hostile_header_takes_no_time(parser: str) -> None:
    """Whatever a client writes into a header, reading it is no more work than some million steps of plain Python."""
    texts = {unit: (unit * (SIZE // len(unit) + 1))[:SIZE] for unit in UNITS}
    efforts = {unit: effort(functools.partial(parse, parser, text)) for unit, text in texts.items()}
    assert {unit: each for unit, each in efforts.items() if each > 200} == {}
