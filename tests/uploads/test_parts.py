"""Handlers that read their bodies part by part, or as one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar, get, post, put
from litestar.config.csrf import CSRFConfig
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody
from litestar.testing import TestClient
from openapi_spec_validator import validate

from litestar_filestore import (
    FilestoreConfig,
    FilestorePlugin,
    MaxSize,
    MemoryBackend,
    MultipartStream,
    Parts,
    RawBody,
    RawUpload,
    Storages,
    UploadLimits,
)


@post("/parts")
async def by_parts(parts: Parts) -> list[str]:
    """Name the parts."""
    return [part.name async for part in parts]


@post("/unread")
async def unread(parts: Parts) -> str:
    """Read nothing."""
    return type(parts).__name__


@get("/page")
async def unread_page() -> None:
    """Set the cookie."""


@put(["/raw", "/again"], status_code=200)
async def by_file(raw_upload: RawBody, storages: Storages) -> int | None:
    """Keep the body."""
    file = await raw_upload.store(filename="a.txt", rules=[MaxSize(10)])
    await storages.keep(file)
    return file.size


@put("/source", status_code=200)
async def as_source(raw_upload: RawBody) -> int:
    """Count the bytes."""
    async with raw_upload.open() as body:
        return sum([len(block) async for block in body])


@dataclass
class Said(Operation):
    """An operation whose author says more than the plugin can."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(content={"multipart/form-data": OpenAPIMediaType()}, description="an album")


@post("/said", operation_class=Said)
async def said(parts: Parts) -> None:
    """Take an album."""
    del parts


def make_app(backend: MemoryBackend, **options: Any) -> Litestar:
    """Return an application with all handlers."""
    config = FilestoreConfig(backends=[backend], limits=UploadLimits(max_file_bytes=100), **options)
    return Litestar([by_parts, unread, by_file, as_source, said], plugins=[FilestorePlugin(config)])


def test_post_gives_the_parts_of_a_form() -> None:
    """The dependency is an iterator of the form's parts, whether the handler reads them or not."""
    with TestClient(make_app(MemoryBackend("parts"))) as client:
        assert client.post("/parts", files=[("a", b"1"), ("b", b"2")]).json() == ["a", "b"]
        assert client.post("/unread", content=b"not even a form").text == MultipartStream.__name__
        assert client.post("/parts", json={}).status_code == 415


def test_put_gives_the_body_as_one_file() -> None:
    """The dependency stores the body, with rules, and says no when they do."""
    backend = MemoryBackend("raw")
    with TestClient(make_app(backend)) as client:
        assert client.put("/raw", content=b"1234567890").json() == 10
        assert client.put("/again", content=b"12345678901").status_code == 413
    assert [each.size for each in backend.list()] == [10]


def test_put_gives_the_body_as_a_source() -> None:
    """A handler may read the blocks itself, within the limits."""
    with TestClient(make_app(MemoryBackend("source"))) as client:
        assert client.put("/source", content=bytes(100)).json() == 100
        assert client.put("/source", content=bytes(101)).status_code == 413


def test_names_of_the_dependencies_are_a_choice() -> None:
    """An application whose handlers have an argument of the same name gives the dependency another one."""

    @post("/other")
    async def other(form: Parts, upload: RawBody) -> bool:
        return (type(form), type(upload)) == (MultipartStream, RawUpload)

    config = FilestoreConfig(parts_dependency_key="form", raw_upload_dependency_key="upload")
    with TestClient(Litestar([other], plugins=[FilestorePlugin(config)])) as client:
        assert client.post("/other").json() is True


class ByFirstByte:
    """Tells two types that nobody else knows."""

    head_bytes = 1

    def detect(self, head: bytes, *, filename: str) -> str:
        del filename
        return "application/x-first" if head == b"1" else "application/x-other"


@post("/kept")
async def keep_parts(parts: Parts, storages: Storages) -> list[str | None]:
    """Keep the files, and tell their types."""
    files = [await part.store() async for part in parts]
    for file in files:
        await storages.keep(file)
    return [file.content_type for file in files]


@put("/kept", status_code=200)
async def keep_body(raw_upload: RawBody, storages: Storages) -> list[str | None]:
    """Keep the body, and tell its type."""
    file = await raw_upload.store(filename="a.bin")
    await storages.keep(file)
    return [file.content_type]


def test_detector_of_the_application_tells_types() -> None:
    """The detector of the configuration is asked for parts and for bodies as it is for forms."""
    config = FilestoreConfig([MemoryBackend("detected")], detector=ByFirstByte())
    with TestClient(Litestar([keep_parts, keep_body], plugins=[FilestorePlugin(config)])) as client:
        assert client.post("/kept", files={"a": ("a.bin", b"1")}).json() == ["application/x-first"]
        assert client.put("/kept", content=b"2").json() == ["application/x-other"]


def test_body_that_a_middleware_has_read_is_used() -> None:
    """A CSRF token in the form makes Litestar read the form first; the parts come from there."""
    backend = MemoryBackend("csrf")
    app = Litestar(
        [by_parts, unread_page],
        plugins=[FilestorePlugin(FilestoreConfig(backends=[backend]))],
        csrf_config=CSRFConfig(secret="not the secret of anything"),
    )
    with TestClient(app) as client:
        client.get("/page")
        token = client.cookies["csrftoken"]
        in_form = client.post("/parts", data={"_csrf_token": token}, files={"a": b"1" * 2_000_000})
        assert in_form.json() == ["_csrf_token", "a"]
        in_header = client.post("/parts", files={"a": b"1"}, headers={"x-csrftoken": token})
        assert in_header.json() == ["a"]


@pytest.mark.parametrize(
    ("path", "method", "media_type"),
    [("/parts", "post", "multipart/form-data"), ("/raw", "put", "application/octet-stream")],
)
def test_document_says_that_there_is_a_body(path: str, method: str, media_type: str) -> None:
    """A client that is made from the document knows that it has to send something, and what."""
    document: Any = make_app(MemoryBackend("documented")).openapi_schema.to_schema()
    validate(document)
    body = document["paths"][path][method]["requestBody"]
    assert (list(body["content"]), body["required"]) == ([media_type], True)


@pytest.mark.parametrize(("path", "method"), [("/parts", "post"), ("/raw", "put")])
def test_document_says_how_an_upload_is_refused(path: str, method: str) -> None:
    """Whoever reads a body may answer that it is too slow, too long, of the wrong type, or one too many."""
    document: Any = make_app(MemoryBackend("refusals")).openapi_schema.to_schema()
    assert {"408", "413", "415", "503"} <= set(document["paths"][path][method]["responses"])


def test_document_keeps_what_the_author_says() -> None:
    """A body that the handler's own operation class describes is left alone."""
    document: Any = make_app(MemoryBackend("said")).openapi_schema.to_schema()
    assert document["paths"]["/said"]["post"]["requestBody"]["description"] == "an album"
