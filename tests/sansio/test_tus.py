"""The headers of tus 1.0.0: what is read, what is refused with which status, and what is answered."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from litestar_filestore.errors import TusError
from litestar_filestore.sansio import tus

BYTES = {"content-type": "application/offset+octet-stream"}
LENGTH = {"upload-length": "5"}
EMPTY = hashlib.sha1(b"").digest()  # noqa: S324  # tus wants it
SHA1 = f"sha1 {b64encode(EMPTY).decode()}"
ID = "0123456789abcdef0123456789abcdef"


def refused(function: Any, *arguments: Any, **options: Any) -> int:
    """Return the status of a refusal."""
    with pytest.raises(TusError) as caught:
        function(*arguments, **options)
    assert caught.value.detail
    return caught.value.status_code


def test_lists_have_no_spaces() -> None:
    """TUSKit splits them at the commas and does not trim."""
    said = {**tus.capabilities(100), "Access-Control-Expose-Headers": tus.EXPOSED_HEADERS}
    assert " " not in "".join(said.values())
    assert said["Tus-Max-Size"] == "100"
    assert "Tus-Max-Size" not in tus.capabilities(None)


@pytest.mark.parametrize("version", [None, "", "1.0", "1.0.0 ", "0.2.2", "1.0.0, 1.0.0"])
def test_other_versions_are_refused(version: str | None) -> None:
    """Anything but 1.0.0 is 412."""
    assert refused(tus.check_version, {} if version is None else {"tus-resumable": version}) == 412
    tus.check_version({"tus-resumable": "1.0.0"})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"upload-length": "0"}, tus.Creation(0, None, None, False, None)),
        ({"upload-length": "100"}, tus.Creation(100, None, None, False, None)),
        ({"upload-defer-length": "1"}, tus.Creation(None, None, None, False, None)),
        ({"upload-length": "5", "upload-metadata": ""}, tus.Creation(5, None, None, False, None)),
        ({"upload-length": "5", "upload-metadata": "a"}, tus.Creation(5, "a", None, False, None)),
        ({"upload-length": "5", "upload-metadata": "a QQ==, b"}, tus.Creation(5, "a QQ==, b", None, False, None)),
        ({"upload-length": "5", "upload-concat": "partial"}, tus.Creation(5, None, "partial", False, None)),
        ({"upload-concat": "final;/a /b"}, tus.Creation(None, None, "final;/a /b", False, None)),
        ({"upload-length": "5", "content-length": "5", **BYTES}, tus.Creation(5, None, None, True, None)),
        ({**LENGTH, "content-length": "0", "content-type": "text/plain"}, tus.Creation(5, None, None, False, None)),
        ({**LENGTH, "upload-checksum": SHA1, **BYTES}, tus.Creation(5, None, None, True, tus.Checksum("sha1", EMPTY))),
    ],
)
def test_creation_is_read(headers: dict[str, str], expected: tus.Creation) -> None:
    """What a creation says."""
    assert tus.read_creation(headers, max_bytes=100) == expected


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"upload-length": "5", "upload-defer-length": "1"}, 400),
        ({"upload-defer-length": "0"}, 400),
        ({"upload-length": "-1"}, 400),
        ({"upload-length": "+1"}, 400),
        ({"upload-length": "1_0"}, 400),
        ({"upload-length": "\u0661"}, 400),
        ({"upload-length": "5, 5"}, 400),
        ({"upload-length": ""}, 400),
        ({"upload-length": "9" * 400}, 400),
        ({"upload-length": "101"}, 413),
        ({"upload-length": "5", "content-length": "1"}, 415),
        ({"upload-length": "5", "transfer-encoding": "chunked"}, 415),
        ({"upload-length": "5", "content-length": "5", "content-type": "text/plain"}, 415),
        ({"upload-length": "5", "content-length": "6", **BYTES}, 413),
        ({"upload-length": "5", "content-length": "many", **BYTES}, 400),
        ({"upload-length": "5", "upload-concat": "Partial"}, 400),
        ({"upload-length": "5", "upload-concat": "final;/a"}, 400),
        ({"upload-defer-length": "1", "upload-concat": "final;/a"}, 400),
        ({"upload-concat": "final;" + "/a " * 20_000}, 400),
        ({"upload-length": "5", "upload-metadata": "a" * 8193}, 413),
        ({"upload-length": "5", "upload-metadata": "a !"}, 400),
        ({"upload-length": "5", "upload-metadata": "a QQ==,"}, 400),
        ({"upload-length": "5", "upload-metadata": "\xe4 QQ=="}, 400),
        ({"upload-length": "5", "upload-metadata": "a QQ==,a QQ=="}, 400),
        ({"upload-length": "5", "upload-checksum": "sha1"}, 400),
        ({"upload-length": "5", "upload-checksum": "sha1 QQ=="}, 400),
        ({"upload-length": "5", "upload-checksum": "SHA1 QQ=="}, 400),
        ({"upload-length": "5", "upload-checksum": SHA1.replace(" ", "  ")}, 400),
    ],
)
def test_creation_is_refused(headers: dict[str, str], status: int) -> None:
    """What contradicts itself or is too large."""
    assert refused(tus.read_creation, headers, max_bytes=100) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"upload-offset": "0"}, 415),
        ({"upload-offset": "0", "content-type": "application/octet-stream"}, 415),
        (BYTES, 400),
        ({**BYTES, "upload-offset": "-0"}, 400),
        ({**BYTES, "upload-offset": "0, 0"}, 400),
        ({**BYTES, "upload-offset": "0", "upload-length": "x"}, 400),
        ({**BYTES, "upload-offset": "0", "upload-checksum": "crc32 AAAA"}, 400),
    ],
)
def test_append_is_refused(headers: dict[str, str], status: int) -> None:
    """Bytes need a type and a place."""
    assert refused(tus.read_append, headers) == status


def test_append_is_read() -> None:
    """All that an append may say; parameters of the type do not matter."""
    said = {"content-type": "Application/Offset+Octet-Stream; a=b", "upload-offset": "7", "content-length": "3"}
    assert tus.read_append({**said, "upload-length": "10"}) == tus.Append(7, 10, 3, None)


@pytest.mark.parametrize(
    ("known", "said", "announced", "expected"),
    [
        (None, None, None, None),
        (None, 10, 3, 10),
        (10, None, 3, 10),
        (10, 10, None, 10),
        (None, 7, 0, 7),
        (100, None, 93, 100),
    ],
)
def test_length_becomes_known(known: int | None, said: int | None, announced: int | None, expected: int | None) -> None:
    """A deferred length is set once."""
    assert tus.new_length(known, tus.Append(7, said, announced, None), max_bytes=100) == expected


@pytest.mark.parametrize(
    ("known", "said", "announced", "status"),
    [
        (10, 11, None, 400),
        (None, 6, None, 400),
        (None, 101, None, 413),
        (10, None, 4, 413),
        (None, 10, 4, 413),
        (None, None, 94, 413),
    ],
)
def test_length_is_refused(known: int | None, said: int | None, announced: int | None, status: int) -> None:
    """A length neither changes nor contradicts what has come or comes."""
    assert refused(tus.new_length, known, tus.Append(7, said, announced, None), max_bytes=100) == status


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ("", None)),
        ("filename YS50eHQ=,filetype dGV4dC9wbGFpbg==", ("a.txt", "text/plain")),
        ("name YS50eHQ=,type dGV4dC9wbGFpbg==", ("a.txt", "text/plain")),
        ("filename bnVsbA==,name YS50eHQ=,filetype bnVsbA==", ("a.txt", None)),
        ("filename /w==", ("\ufffd", None)),
        ("filename", ("", None)),
    ],
)
def test_names_in_metadata(value: str | None, names: tuple[str, str | None]) -> None:
    """Clients agree on two names; Uppy writes null."""
    assert tus.upload_names(tus.parse_metadata(value)) == names


@pytest.mark.parametrize(
    "url", [f"/a/uploads/{ID}", f"https://example.org/a/uploads/{ID}/", f"http://proxy/prefix/a/uploads/{ID}?x=1"]
)
def test_partial_uploads_are_found_by_their_id(url: str) -> None:
    """A URL is only looked at for the id at its end."""
    assert tus.partial_ids(f"final;{url} {url}", "/a/uploads") == [ID, ID]


@pytest.mark.parametrize(
    "url",
    [
        "",
        ID,
        f"/b/uploads/{ID}",
        f"/a/uploads/{ID}/x",
        f"/a/uploads/{ID.upper()}",
        f"/a/uploads/../{ID}",
        f"/a/uploads/{ID}%00",
        "/a/uploads/../../etc/passwd",
        "http://[::1",
        f"?/a/uploads/{ID}",
    ],
)
def test_foreign_urls_name_no_partial_upload(url: str) -> None:
    """What is no upload of this router is refused, and never becomes a name."""
    assert refused(tus.partial_ids, f"final;{url}", "/a/uploads") == 400


def test_method_in_a_header() -> None:
    """POST may stand for the methods of an upload only."""
    assert tus.overridden_method({"x-http-method-override": "patch"}) == "PATCH"
    assert [refused(tus.overridden_method, {"x-http-method-override": each}) for each in ("", "GET", "POST")] == [
        405
    ] * 3


def test_state_is_told() -> None:
    """What HEAD answers; metadata and concatenation are as they were sent."""
    assert tus.state_headers(offset=0, length=None) == {"Upload-Offset": "0", "Upload-Defer-Length": "1"}
    told = tus.state_headers(offset=5, length=9, metadata="a QQ==", concat="partial")
    assert told == {"Upload-Offset": "5", "Upload-Length": "9", "Upload-Metadata": "a QQ==", "Upload-Concat": "partial"}
    assert tus.http_date(784111777.0) == "Sun, 06 Nov 1994 08:49:37 GMT"
