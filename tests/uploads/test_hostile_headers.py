"""No header of a client makes a 500, and what a row may hold of it is text for every database."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from litestar import Litestar, get, post, put
from litestar.params import FromPath, MultipartBody

from litestar_filestore import (
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    Parts,
    RawBody,
    create_file_router,
    storages,
)
from tests.uploads.multipart_bodies import BOUNDARY, CONTENT_TYPE, END
from tests.uploads.scripted import Script, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
NAMES = (
    *("accept", "accept-encoding", "authorization", "content-digest", "content-disposition", "content-encoding"),
    *("content-language", "content-length", "content-md5", "content-range", "content-type", "expect", "host"),
    *(
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "range",
        "referer",
    ),
    *("referer", "repr-digest", "trailer", "transfer-encoding", "user-agent", "via", "x-anything"),
)
# What a server lets through: anything but line breaks and NUL (RFC 9110 section 5.5).
WORDS = st.sampled_from(
    [
        "multipart/form-data",
        "; boundary=",
        "; charset=",
        "utf-7",
        "bytes=",
        "0-",
        "-",
        "9" * 30,
        "W/",
        '"',
        "*",
        "sha-256=:",
        ":",
        "=?utf-8?B?w7w=?=",
        "Sat, 29 Nov 2026 00:00:00 GMT",
        "\xff",
        "\\",
        "%00",
        ";",
        ",",
        "\x01",
        "/",
        "x" * 3000,
    ]
)
ANYTHING = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=20)
VALUES = st.lists(WORDS | ANYTHING, max_size=8).map("".join)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)


def clean(value: Any) -> bool:
    """Return whether every database takes a value: no NUL, no half of a character, nothing endless."""
    if isinstance(value, str):
        return "\x00" not in value and value.encode("utf-8", "replace").decode() == value and len(value) <= 4096
    if isinstance(value, dict):
        return all(clean(each) for pair in value.items() for each in pair)
    return all(map(clean, value)) if isinstance(value, list | tuple) else True


def told(file: FileObject, **more: Any) -> dict[str, Any]:
    """Return what would be in a row."""
    assert clean(file.to_dict()), file.to_dict()
    return {"filename": file.filename, **more}


@post("/form", status_code=200)
async def form(data: MultipartBody[FileObject]) -> dict[str, Any]:
    """Take a file."""
    return told(data)


@post("/parts", status_code=200)
async def parts(parts: Parts) -> list[Any]:
    """Take parts, and whatever they say."""
    answer: list[Any] = []
    async for part in parts:
        said = (part.name, part.filename, part.declared_type, part.charset, part.headers)
        assert clean(said), said
        answer.append(told(await part.store("media")) if part.is_file else await part.text())
    return answer


@put("/raw/{name:str}", status_code=200)
async def raw(name: FromPath[str], raw_upload: RawBody) -> dict[str, Any]:
    """Take a file."""
    return told(await raw_upload.store("media", filename=name))


@get("/file")
async def file() -> FileDownload:
    """Send a file."""
    return FileDownload(FileObject("media", "there.txt"))


@pytest.fixture(scope="module")
def app() -> Iterator[Litestar]:
    """An application with every way in and out."""
    backend = MemoryBackend("media")
    FileObject(backend, "there.txt", to_filename="there.txt", content=b"content").save()
    router = create_file_router("/media", backend="media", public=True, methods=("GET", "PUT", "DELETE"))
    config = FilestoreConfig([backend], secret=SECRET, ledger=None)
    # Litestar's own logging of what it answers costs most of the time.
    logging.getLogger("litestar_filestore").setLevel(logging.CRITICAL)
    yield Litestar([form, parts, raw, file, router], plugins=[FilestorePlugin(config)], logging_config=None)
    logging.getLogger("litestar_filestore").setLevel(logging.NOTSET)


def routes(app: Litestar) -> list[tuple[str, str]]:
    """Return methods and paths."""
    backend = storages["media"]
    with_link = storages.url_for(FileObject(backend, "a.txt"), for_upload=True)
    return [
        ("POST", "/form"),
        ("POST", "/parts"),
        ("PUT", "/raw/a.txt"),
        ("GET", "/file"),
        ("HEAD", "/file"),
        ("GET", "/media/there.txt"),
        ("PUT", "/media/new.txt"),
        ("DELETE", "/media/gone.txt"),
        ("PUT", with_link),
    ]


@given(HEADERS)
@example({"content-type": "multipart/form-data; boundary=\xff"})
@example({"content-length": "9" * 30})
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_headers_of_requests(app: Litestar, headers: dict[str, str]) -> None:
    """Whatever the headers say, the answer is a good one or blames the client."""
    async with app.lifespan():
        for method, path in routes(app):
            answer = await Script(messages(b"content")).run(app, path, method=method, headers=headers)
            assert answer.status < 500, (method, path, answer.content)


LINES = st.lists(
    st.sampled_from(
        [
            b'Content-Disposition: form-data; name="file"; filename="',
            b"Content-Type: ",
            b"Content-Length: ",
            b"Repr-Digest: ",
            b"X-\xff: ",
            b'"',
            b"\r\n",
            b"\x00",
            b"=?utf-8?B?",
            b"AA==?=",
            b"7f8A",
            b"\xed\xa0\x80",
            b"text/plain; charset=",
            b"\\",
            b" ",
            b"x" * 4000,
        ]
    )
    | st.binary(max_size=10),
    max_size=12,
).map(b"".join)


@given(LINES, st.sampled_from(["/form", "/parts"]))
@example(b'Content-Disposition: form-data; name="file"; filename="=?utf-8?B?AAD/?="', "/parts")
@example(b'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: text/' + b"x" * 4000, "/parts")
@example(b'Content-Disposition: form-data; name="file"; filename="\x00\x1b.txt"\r\nX-A: \x00', "/parts")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_headers_of_parts(app: Litestar, head: bytes, path: str) -> None:
    """Whatever stands in the head of a part, it is refused, or what is kept of it is clean."""
    body = b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\nx\r\n" + END
    async with app.lifespan():
        answer = await Script(messages(body)).run(app, path, headers={"content-type": CONTENT_TYPE})
    assert answer.status < 500, answer.content
    assert clean(json.loads(answer.content))
