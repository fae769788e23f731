"""Ranges and preconditions over raw sockets, on every server and backend."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesParser
from email.utils import formatdate, parsedate_to_datetime

import pytest

from tests.downloads.cases import CASES, Case
from tests.downloads.content import CONTENT, SIZE
from tests.downloads.raw import Answer, exchange
from tests.downloads.serving import Served

DAY_SECONDS = 86_400


def _filled(case: Case, known: dict[str, str]) -> list[tuple[str, str]]:
    moment = parsedate_to_datetime(known["last-modified"]).timestamp()
    values = {
        "etag": known["etag"],
        "date": known["last-modified"],
        "before": formatdate(moment - DAY_SECONDS, usegmt=True),
        "after": formatdate(moment + DAY_SECONDS, usegmt=True),
    }
    return [(name, value.format(**values)) for name, value in case.headers]


@pytest.mark.matrix(cases=30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:60])
def test_request(case: Case, server: Served, backend: str, validators: dict[tuple[str, str], dict[str, str]]) -> None:
    """The status, the headers and exactly the bytes that the table says."""
    known = validators[server.name, backend]
    answer = exchange(server.port, case.method, f"/{backend}/small", *_filled(case, known))

    assert answer.status == case.status
    assert len(set(answer.names)) == len(answer.names)
    if case.status in {412, 416}:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get("content-range") == (f"bytes */{SIZE}" if case.status == 416 else None)
        return
    assert answer.headers["etag"] == known["etag"]
    assert answer.headers["last-modified"] == known["last-modified"]
    assert answer.headers["accept-ranges"] == "bytes"
    if case.status == 304:
        assert answer.body == b""
        return
    if case.method == "HEAD":
        assert (answer.body, answer.length) == (b"", SIZE)
        return
    assert answer.length == len(answer.body)
    if len(case.parts) > 1:
        assert _parts(answer) == [_part(start, end) for start, end in case.parts]
        return
    assert len(case.parts) == 1
    start, end = case.parts[0]
    assert answer.body == CONTENT[start:end]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers.get("content-range") == (f"bytes {start}-{end - 1}/{SIZE}" if case.status == 206 else None)


def _part(start: int, end: int) -> tuple[str, str, bytes]:
    return "text/plain; charset=utf-8", f"bytes {start}-{end - 1}/{SIZE}", CONTENT[start:end]


def _parts(answer: Answer) -> list[tuple[str, str, bytes]]:
    """Read a multipart body with the standard library's parser."""
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert "content-range" not in answer.headers
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message: Message = BytesParser().parsebytes(head + answer.body)
    assert not message.defects
    return [_read(part) for part in message.walk() if part is not message]


def _read(part: Message) -> tuple[str, str, bytes]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return str(part["content-type"]), str(part["content-range"]), content
