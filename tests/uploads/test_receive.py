"""Forms that are read while they arrive: what becomes of their parts."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from litestar_filestore.sansio.disposition import safe_filename
from tests.uploads.conftest import Receiving
from tests.uploads.multipart_bodies import CONTENT_TYPE, Piece, body_of
from tests.uploads.scripted import GONE, Script, messages, sending

MIB = 1024 * 1024
TEXT = Piece("text", b"something")
FILE = Piece("file", b"content of a file", "a.txt", "text/plain")


async def test_post_form_gives_files_texts_and_lists(receiving: Receiving) -> None:
    """A form becomes what the handler declares: files that are stored, spooled files, texts."""
    async with receiving() as receiver:
        answer = await receiver.send_form(
            FILE,
            Piece("more", b"1", "1.txt"),
            Piece("more", b"", "2.txt"),
            Piece("spooled", b"on disk", "3.txt"),
            Piece("text", "käse".encode()),
            Piece("texts", b"x"),
            Piece("texts", b"y"),
        )
    assert answer.status == 200
    assert [(each["filename"], each["size"]) for each in answer.json["files"]] == [
        ("a.txt", 17),
        ("1.txt", 1),
        ("2.txt", 0),
    ]
    assert answer.json["files"][0]["checksum"] == f"sha256:{hashlib.sha256(FILE.content).hexdigest()}"
    assert (answer.json["spooled"], answer.json["text"], answer.json["texts"]) == ("on disk", "käse", ["x", "y"])


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
async def test_post_form_cut_anywhere_is_the_same_form(receiving: Receiving, size: int) -> None:
    """How a server cuts the body into messages changes nothing."""
    body = body_of(FILE, TEXT)
    async with receiving() as receiver:
        whole = await receiver.send(body)
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert (await receiver.send(*pieces, b"")).json == whole.json


async def test_file_of_an_unknown_name_is_not_stored(receiving: Receiving) -> None:
    """A file that the handler does not declare is read and thrown away."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("other", b"x" * 100, "a.txt"), TEXT)
        assert (answer.status, answer.json["text"], receiver.driver.blocks) == (200, "something", [])


async def test_input_without_a_file_is_no_file(receiving: Receiving) -> None:
    """Browsers send an input without a file as an empty part; nothing is stored for it."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("file", b"", "", "application/octet-stream"), TEXT)
        assert (answer.status, answer.json["files"], receiver.driver.blocks) == (200, [], [])


async def test_second_file_for_one_file_is_refused_before_it_is_stored(receiving: Receiving) -> None:
    """A field of one file takes no second one."""
    async with receiving() as receiver:
        answer = await receiver.send_form(FILE, FILE)
        assert (answer.status, answer.keys, len(receiver.driver.blocks)) == (400, ["file"], 1)


@pytest.mark.parametrize("charset", ["utf-7", "rot13", "utf-16", "nonsense", "iso-8859-1"])
async def test_text_in_another_charset_is_refused(receiving: Receiving, charset: str) -> None:
    """The client does not choose the codec that its text is read with."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("text", b"+ADw-script+AD4-", None, f"text/plain; charset={charset}"))
    assert (answer.status, answer.keys) == (400, ["text"])


async def test_text_that_is_no_text_is_refused(receiving: Receiving) -> None:
    """Bytes that are not UTF-8 are the client's mistake, not the server's."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("text", b"\xff\xfe"))
    assert (answer.status, answer.keys) == (400, ["text"])


@pytest.mark.parametrize("missing", [4, 10, 40, 100])
async def test_form_that_breaks_off_is_refused(receiving: Receiving, missing: int) -> None:
    """A body that ends inside the second file is refused, and the first one is given up."""
    body = body_of(FILE, FILE._replace(name="more"))
    async with receiving() as receiver:
        answer = await receiver.send(body[:-missing])
    assert answer.status == 400


async def test_client_that_leaves_is_forgotten(receiving: Receiving) -> None:
    """After a disconnect in the middle of the second file, nothing is left of the first either."""
    body = body_of(FILE, Piece("more", b"x" * 3 * MIB, "b.bin"))
    async with receiving() as receiver:
        answer = await receiver.send(body[: 2 * MIB], GONE)
    assert answer.status == 400


async def test_cancelled_request_is_forgotten(receiving: Receiving) -> None:
    """A server that cancels the request in the middle of the second file finds nothing left of it."""
    body = body_of(FILE, Piece("more", b"x" * 3 * MIB, "b.bin"))
    async with receiving() as receiver:
        start = {"type": "http.request", "body": body[: 2 * MIB], "more_body": True}
        async with sending(Script(messages(start)), receiver.app):
            await receiver.driver.wait_for(MIB)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded, application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
        "application/json",
        "text/plain",
        "",
    ],
)
async def test_other_media_types_are_refused(receiving: Receiving, content_type: str) -> None:
    """No other way of writing a form leads around the limits."""
    async with receiving() as receiver:
        script = Script(messages(b"text=x"))
        answer = await script.run(receiver.app, headers={"content-type": content_type})
    assert (answer.status, script.taken) == (415, 0)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", CONTENT_TYPE + "; boundary=b", CONTENT_TYPE + "x" * 100],
)
async def test_form_without_one_good_boundary_is_refused_unread(receiving: Receiving, content_type: str) -> None:
    """A boundary that cannot be right is refused before the body is asked for."""
    async with receiving() as receiver:
        script = Script(messages(body_of(TEXT)))
        answer = await script.run(receiver.app, headers={"content-type": content_type})
    assert (answer.status, script.taken) == (400, 0)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_text_as_file_name_stays_a_name(receiving: Receiving, name: str) -> None:
    """Whatever a client calls a file, its key is the server's, and its name is safe to show."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("file", b"x", f"{name}.txt"))
        assert answer.status == 200, answer.content
        (put,) = [each for each in receiver.driver.calls if each.operation == "put"]
    (file,) = answer.json["files"]
    assert re.fullmatch(r"[0-9a-f]{2}/[0-9]{6}/[0-9a-z]+(\.txt)?", put.paths[0])
    assert file["filename"] == safe_filename(file["filename"])
    assert not re.search(r"[\x00-\x1f\x7f/\\\"]", file["filename"])


@pytest.mark.parametrize("header", ["Content-MD5: {}", "Repr-Digest: md5=:{}:", "Content-Digest: md5=:{}:"])
@pytest.mark.parametrize(("content", "status"), [(b"as announced", 200), (b"as announced!", 400)])
async def test_digest_of_a_part_is_verified(receiving: Receiving, header: str, content: bytes, status: int) -> None:
    """A part whose content is not what its own headers announce is refused, and never becomes an object."""
    piece = Piece("file", content, "a.txt", headers=(header.format(_md5(b"as announced")),))
    async with receiving() as receiver:
        answer = await receiver.send_form(piece)
    assert answer.status == status
    assert status == 200 or answer.keys == ["file"]


@pytest.mark.parametrize("path", ["/form", "/raw/a.txt"])
@pytest.mark.parametrize("status", [200, 400])
async def test_digest_of_the_body_is_verified(receiving: Receiving, path: str, status: int) -> None:
    """A request whose body is not what its headers announce is refused, forms as a whole."""
    body = body_of(FILE)
    digest = _md5(body if status == 200 else body + b" ")
    method = "POST" if path == "/form" else "PUT"
    async with receiving() as receiver:
        answer = await receiver.send(
            body[:50], body[50:], path=path, method=method, headers={"repr-digest": f"md5=:{digest}:"}
        )
    assert answer.status == status


async def test_put_stores_the_body(receiving: Receiving) -> None:
    """A body that is nothing but a file is stored under the name that the handler gives it."""
    async with receiving() as receiver:
        answer = await receiver.send(b"a,b\r\n", b"1,2", path="/raw/a.csv", method="PUT")
    assert (answer.json["filename"], answer.json["type"], answer.json["size"]) == ("a.csv", "text/csv", 8)


PART_OF_FILE = {"content-range": "bytes 0-2/10"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "/raw/a.txt", b"abc"), ("POST", "/form", body_of(FILE)), ("POST", "/parts", body_of(FILE))],
)
async def test_part_of_a_file_is_not_taken_for_the_file(
    receiving: Receiving, method: str, path: str, body: bytes
) -> None:
    """What is said to be a piece of a file is stored by no route (RFC 9110 section 14.5)."""
    async with receiving() as receiver:
        headers = {"content-type": CONTENT_TYPE, **PART_OF_FILE} if method == "POST" else PART_OF_FILE
        answer = await receiver.send(body, path=path, method=method, headers=headers)
        assert (answer.status, receiver.driver.blocks) == (400, [])
    assert "Content-Range" in answer.json["detail"]


async def test_part_of_a_file_is_refused_unread(receiving: Receiving) -> None:
    """Nobody sends a gigabyte to be told that it was for nothing."""
    async with receiving() as receiver:
        script = Script(messages(b"abc"))
        answer = await script.run(receiver.app, "/raw/a.txt", method="PUT", headers=PART_OF_FILE)
    assert (answer.status, script.taken) == (400, 0)


async def test_form_of_texts_may_have_any_header(receiving: Receiving) -> None:
    """Nothing is stored of a form without files, so nothing is said about it."""
    async with receiving() as receiver:
        answer = await receiver.send(body_of(TEXT), headers={"content-type": CONTENT_TYPE, **PART_OF_FILE})
    assert (answer.status, answer.json["text"]) == (200, "something")


async def test_put_of_nothing_stores_an_empty_file(receiving: Receiving) -> None:
    """An empty body is an empty file."""
    async with receiving() as receiver:
        answer = await receiver.send(b"", path="/raw/a.txt", method="PUT")
    assert (answer.status, answer.json["size"]) == (200, 0)


async def test_parts_come_one_by_one(receiving: Receiving) -> None:
    """A handler that asks for the parts gets them in their order; those that it does not read are skipped."""
    async with receiving() as receiver:
        answer = await receiver.send_form(TEXT, Piece("x", b"y" * 5000, "x"), FILE, Piece("z", b""), path="/parts")
    assert answer.json[:2] == ["something", None]
    assert (answer.json[2]["filename"], answer.json[3]) == ("a.txt", None)


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


@pytest.mark.parametrize("filename", ["blob", "", "größe.json"])
async def test_text_that_is_sent_as_a_file_is_text(receiving: Receiving, filename: str) -> None:
    """``FormData.append(name, new Blob([...]))`` gives a field a file name: it is the field all the same."""
    async with receiving() as receiver:
        answer = await receiver.send_form(
            Piece("text", b'{"a": 1}', filename, "application/json"),
            Piece("texts", b"one", filename),
            Piece("texts", b"two"),
        )
    assert answer.status == 200, answer.content
    assert (answer.json["text"], answer.json["texts"]) == ('{"a": 1}', ["one", "two"])


@pytest.mark.parametrize(("content", "status"), [(b"x" * 11, 413), (b"\xff\xfe", 400)])
async def test_text_that_is_sent_as_a_file_is_judged_as_text(receiving: Receiving, content: bytes, status: int) -> None:
    """Its limits are those of texts, and it has to be UTF-8."""
    async with receiving(max_field_bytes=10) as receiver:
        answer = await receiver.send_form(Piece("text", content, "blob"))
    assert (answer.status, answer.keys) == (status, ["text"])


async def test_error_text_names_no_python(receiving: Receiving) -> None:
    """What is wrong with a form is said in a sentence of ours, without the words of an exception."""
    body = body_of(Piece("file", b"x", "a.txt")).replace(b"a.txt", b"\xa0.txt")
    async with receiving() as receiver:
        answer = await receiver.send(body)
    assert answer.status == 400
    assert not re.search(r"Error|codec|0x|\\x|b'|\(", answer.content.decode())


@pytest.mark.parametrize(
    "type_", ["x" * 3900 + "/y", "text/\u0000plain", "text", "a/b/c", "text/plain; charset=\u0001"], ids=range(5)
)
@pytest.mark.parametrize("way", ["form", "parts", "raw"])
async def test_declared_type_is_short_and_plain(receiving: Receiving, way: str, type_: str) -> None:
    """What a client calls its file reaches metadata only where it is a media type."""
    async with receiving() as receiver:
        if way == "raw":
            answer = await receiver.send(b"x", path="/raw/a.txt", method="PUT", headers={"content-type": type_})
        else:
            answer = await receiver.send_form(Piece("file", b"x", "a.txt", type_), path=f"/{way}")
    assert answer.status == 200, answer.content
    told = answer.json["files"] if way == "form" else answer.json
    file = told if way == "raw" else told[0]
    assert file["metadata"] == {}


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"a,b\n1,2\n", b"x" * 100_000])
async def test_file_without_a_file_name_is_refused_for_that(receiving: Receiving, content: bytes) -> None:
    """Who forgets the file name is told so, not that the content is no text."""
    async with receiving() as receiver:
        answer = await receiver.send_form(Piece("file", content, None, "image/png"))
    assert (answer.status, answer.keys) == (400, ["file"])
    assert "filename" in answer.json["detail"]
