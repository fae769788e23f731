"""The headers of "Resumable Uploads for HTTP": what is read, what is ignored, and what is refused with which status."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, strategies as st

from litestar_filestore.errors import TusError
from litestar_filestore.sansio import http_uploads
from litestar_filestore.sansio.http_uploads import Append
from litestar_filestore.sansio.tus import Checksum, parse_metadata

MAX = 100
PATCH = {"content-type": http_uploads.MEDIA_TYPE, "upload-offset": "5", "upload-complete": "?0"}
DIGEST = hashlib.sha256(b"Hello").digest()
SHA256 = f"sha-256=:{b64encode(DIGEST).decode()}:"
LENGTHS = st.none() | st.integers(0, MAX + 5)


def refused(function: Any, *arguments: Any, **options: Any) -> tuple[int, str | None]:
    """Return status and problem of a refusal."""
    with pytest.raises(TusError) as caught:
        function(*arguments, **options)
    assert caught.value.detail
    return caught.value.status_code, caught.value.problem


@pytest.mark.parametrize("version", [None, "", "7", "9", "8.0", "8, 8", "?8"])
def test_other_iterations_are_refused(version: str | None) -> None:
    """Anything but 8 is 400."""
    headers = {} if version is None else {"upload-draft-interop-version": version}
    assert refused(http_uploads.check_version, headers) == (400, None)
    http_uploads.check_version({"upload-draft-interop-version": "8"})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, Append(5, False, None, None, None)),
        ({"upload-complete": "?1"}, Append(5, True, None, None, None)),
        ({"upload-complete": " ?1 "}, Append(5, True, None, None, None)),
        ({"upload-complete": '?1;a;b=1; c="x"'}, Append(5, True, None, None, None)),
        ({"upload-offset": "5;a=?1"}, Append(5, False, None, None, None)),
        ({"upload-offset": "999999999999999"}, Append(999999999999999, False, None, None, None)),
        ({"upload-length": "9", "content-length": "4"}, Append(5, False, 9, 4, None)),
        ({"upload-length": "-9"}, Append(5, False, None, None, None)),
        ({"upload-length": "9.0"}, Append(5, False, None, None, None)),
        ({"upload-length": "9, 9"}, Append(5, False, None, None, None)),
        ({"content-type": "Application/Partial-Upload; a=b"}, Append(5, False, None, None, None)),
        ({"content-digest": SHA256}, Append(5, False, None, None, Checksum("sha256", DIGEST))),
        ({"content-digest": "sha-3=:AA==:"}, Append(5, False, None, None, None)),
        ({"repr-digest": SHA256}, Append(5, False, None, None, None)),
    ],
)
def test_append_is_read(said: dict[str, str], expected: Append) -> None:
    """What a PATCH says; malformed fields are as if they were missing."""
    assert http_uploads.read_append({**PATCH, **said}) == expected


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"content-type": "application/offset+octet-stream"}, 415),
        ({"content-type": ""}, 415),
        *(({"upload-complete": value}, 400) for value in ("", "1", "true", "?2", "?1, ?1", "?1;A=1", "(?1)")),
        *(({"upload-offset": value}, 400) for value in ("", "-1", "+1", "1_0", "\u0661", "1" * 16, "5, 5", '"5"')),
        ({"content-length": "x"}, 400),
        ({"content-digest": "sha-256=:AA==:"}, 400),
        ({"content-digest": "sha-256=AA"}, 400),
        ({"content-digest": f"{SHA256}, {SHA256.replace('=:', '=:AAAA')}"}, 400),
    ],
)
def test_append_is_refused(said: dict[str, str], status: int) -> None:
    """What is needed and cannot be read."""
    assert refused(http_uploads.read_append, {**PATCH, **said}) == (status, None)


@pytest.mark.parametrize(
    ("said", "metadata"),
    [
        ({}, {}),
        ({"content-type": "text/plain; charset=utf-8"}, {"filetype": b"text/plain"}),
        ({"content-type": "nonsense"}, {}),
        ({"content-disposition": 'inline; filename="a.txt"'}, {"filename": b"a.txt"}),
        ({"content-disposition": "inline"}, {}),
        ({"content-encoding": "identity"}, {}),
    ],
)
def test_creation_is_read(said: dict[str, str], metadata: dict[str, bytes]) -> None:
    """Filename and type are kept as clients of tus would have sent them."""
    asked = http_uploads.read_creation({"upload-complete": "?1", "content-length": "3", **said})
    assert (parse_metadata(asked.metadata), asked.first) == (metadata, Append(0, True, None, 3, None))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"upload-complete": ""}, 400),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"content-disposition": f'inline; filename="{"a" * 2000}"', "content-digest": "?"}, 400),
    ],
)
def test_creation_is_refused(said: dict[str, str], status: int) -> None:
    """A creation has to bring the file itself, or nothing of it."""
    assert refused(http_uploads.read_creation, {"upload-complete": "?0", **said}) == (status, None)


def test_digest_of_the_whole_is_that_of_the_body_if_all_comes_at_once() -> None:
    """Only then a request can be judged by ``Repr-Digest``."""
    whole = http_uploads.read_creation({"upload-complete": "?1", "repr-digest": SHA256})
    assert whole.first.checksum == Checksum("sha256", DIGEST)
    assert http_uploads.read_creation({"upload-complete": "?0", "repr-digest": SHA256}).first.checksum is None


@given(known=LENGTHS, offset=st.integers(0, MAX + 5), ends=st.booleans(), length=LENGTHS, announced=LENGTHS)
def test_length_is_one_or_none(
    known: int | None,
    offset: int,
    ends: bool,  # noqa: FBT001  # as hypothesis calls it
    length: int | None,
    announced: int | None,
) -> None:
    """A length never changes, is never less than what is there, never above the limit, and never made up."""
    request = Append(offset, ends, length, announced, None)
    end = offset + (announced or 0)
    told = {each for each in (known, length, end if ends and announced is not None else None) if each is not None}
    if len(told) > 1 or any(each < end for each in told):
        assert refused(http_uploads.new_length, known, request, max_bytes=MAX) == (400, "inconsistent-upload-length")
    elif max({end, *told}) > MAX:
        assert refused(http_uploads.new_length, known, request, max_bytes=MAX) == (413, None)
    else:
        assert http_uploads.new_length(known, request, max_bytes=MAX) == (told.pop() if told else None)


@given(st.dictionaries(st.sampled_from([*PATCH, "upload-length", "content-digest", "content-length"]), st.text()))
def test_any_headers_are_read_or_refused(headers: dict[str, str]) -> None:
    """Whatever a client sends: a request, or a refusal that says why."""
    statuses: set[int] = set()
    for read in (http_uploads.read_append, http_uploads.read_creation, http_uploads.check_version):
        try:
            read({**PATCH, **headers})
        except TusError as error:
            statuses.add(error.status_code)
    assert statuses <= {400, 413, 415}


@given(offset=st.integers(0, 10**15 - 1), length=LENGTHS, complete=st.booleans())
def test_state_reads_back(offset: int, length: int | None, complete: bool) -> None:  # noqa: FBT001
    """What an answer tells is what a request with the same fields says."""
    said = http_uploads.state_headers(offset=offset, length=length, is_complete=complete)
    headers = {name.lower(): value for name, value in said.items()}
    assert http_uploads.read_append({**PATCH, **headers}) == Append(offset, complete, length, None, None)


def test_limits_and_problems() -> None:
    """Limits are whole numbers, and never below zero; a problem type has its registered address."""
    assert http_uploads.upload_limit(100, 3.9) == {"Upload-Limit": "max-size=100, max-age=3"}
    assert http_uploads.upload_limit(100, -1.0) == {"Upload-Limit": "max-size=100, max-age=0"}
    type_, title = http_uploads.type_and_title("completed-upload")
    assert (type_, bool(title)) == ("https://iana.org/assignments/http-problem-types#completed-upload", True)
    assert http_uploads.type_and_title(None) == (None, None)
    more, none = (Append(5, True, None, announced, None) for announced in (None, 0))
    assert [http_uploads.refuse_more(each).problem for each in (more, none)] == [
        "inconsistent-upload-length",
        "completed-upload",
    ]
