"""Headers of downloads: types, names, protection, and what the rest of an application may not add."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from litestar import Litestar, Request, Response, get, head
from litestar.config.compression import CompressionConfig
from litestar.config.csrf import CSRFConfig
from litestar.exceptions import ImproperlyConfiguredException, LitestarException
from litestar.middleware import ASGIMiddleware
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.response import Redirect
from litestar.testing import TestClient
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from openapi_spec_validator import validate

from litestar_filestore import (
    DownloadConfig,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
)
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError
from litestar_filestore.sansio.active_types import ACTIVE_TYPES, INLINE_TYPES
from litestar_filestore.testing import FaultyBackend

CONTENT = b"0123456789" * 1000


@contextmanager
def serving(*handlers: Any, downloads: DownloadConfig | None = None, **options: Any) -> Iterator[TestClient[Litestar]]:
    """Run an application with the plugin."""
    config = FilestoreConfig(backends=[BACKEND], ledger=None, downloads=downloads or DownloadConfig())
    plugins = [FilestorePlugin(config), *options.pop("plugins", ())]
    with TestClient(Litestar(list(handlers), plugins=plugins, **options)) as client:
        yield client


BACKEND = MemoryBackend("header-files")


def stored(filename: str = "report.txt", content_type: str = "text/plain", content: bytes = CONTENT) -> FileObject:
    """Return a file in the backend."""
    file = FileObject(BACKEND, filename, content=content).save()
    file.content_type = content_type
    return file


@contextmanager
def serving_file(
    file: FileObject, downloads: DownloadConfig | None = None, **wish: Any
) -> Iterator[TestClient[Litestar]]:
    """Serve one file at ``/``."""

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file, **wish)

    with serving(read, downloads=downloads) as client:
        yield client


PROTECTIVE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


def test_protective_headers() -> None:
    """Each download carries all headers that keep its content from acting as a part of the site."""
    with serving_file(stored()) as client:
        headers = client.get("/").headers
    assert PROTECTIVE.items() <= dict(headers).items()
    assert headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("content_type", [*sorted(ACTIVE_TYPES), "multipart/mixed", "application/atom+xml", "broken"])
@pytest.mark.parametrize("disposition", ["inline", "attachment"])
def test_active_types(content_type: str, disposition: str) -> None:
    """What can run a script is saved as bytes of no type, whatever the handler says."""
    with serving_file(stored("x.bin", content_type), disposition=disposition) as client:
        headers = client.get("/").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == 'attachment; filename="x.bin"'
    assert headers["content-security-policy"].endswith("sandbox")


@pytest.mark.parametrize("content_type", sorted(INLINE_TYPES))
def test_inline_types(content_type: str) -> None:
    """What browsers show without running anything may be shown, in a sandbox."""
    with serving_file(stored("x", content_type), disposition="inline") as client:
        headers = client.get("/").headers
    assert headers["content-type"].partition(";")[0] == content_type
    assert headers["content-disposition"].startswith("inline; ")
    assert headers["content-security-policy"].endswith("; sandbox")


def test_pdf_inline_is_a_choice() -> None:
    """PDF is saved, unless the application adds it; its viewer needs a page that is not sandboxed."""
    file = stored("x.pdf", "application/pdf")
    with serving_file(file, disposition="inline") as client:
        assert client.get("/").headers["content-disposition"] == 'attachment; filename="x.pdf"'
    config = DownloadConfig(inline_types=INLINE_TYPES | {"application/pdf"})
    with serving_file(file, config, disposition="inline") as client:
        headers = client.get("/").headers
    assert headers["content-disposition"] == 'inline; filename="x.pdf"'
    assert "sandbox" not in headers["content-security-policy"]


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "IMAGE/PNG", "image/png; x=y", "nonsense"])
def test_active_types_cannot_be_allowed(content_type: str) -> None:
    """No configuration shows active content in place."""
    with pytest.raises(ConfigurationError):
        DownloadConfig(inline_types=frozenset({content_type}))


def test_names_follow_the_type() -> None:
    """A picture that calls itself a page is saved as a picture."""
    with serving_file(stored("page.html", "image/png")) as client:
        assert client.get("/").headers["content-disposition"] == 'attachment; filename="page.html.png"'


def test_hostile_names() -> None:
    """A name that a row has from elsewhere is made safe when it is sent, if not before."""
    with serving_file(stored('a\r\nSet-Cookie: x=1"\u202etxt.exe')) as client:
        headers = client.get("/").headers
    assert headers["content-disposition"] == 'attachment; filename="a__Set-Cookie_ x=1__txt.exe"'
    assert "set-cookie" not in headers


def test_own_headers() -> None:
    """The application may replace protective headers and add others, but none that describe the content."""
    own = {"Content-Security-Policy": "sandbox", "X-Own": "1", "Content-Length": "7", "Content-Encoding": "gzip"}
    with serving_file(stored(), headers=own, cache_control="public, max-age=60") as client:
        headers = client.get("/").headers
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-own"] == "1"
    assert headers["content-length"] == str(len(CONTENT))
    assert "content-encoding" not in headers
    assert headers["cache-control"] == "public, max-age=60"


def test_equal_bytes_have_equal_tags() -> None:
    """The tag comes from the content: two uploads of the same bytes share it, another byte changes it."""
    one, same, other = stored("a.txt"), stored("b.txt"), stored("a.txt", content=CONTENT + b"!")
    tags: list[str] = []
    for file in (one, same, other):
        with serving_file(file) as client:
            tags.append(client.get("/").headers["etag"])
    assert tags[0] == tags[1] != tags[2]
    assert not any(tag.startswith("W/") for tag in tags)


def test_not_modified_costs_no_read() -> None:
    """A 304 is answered from the row: the store is not asked at all, and neither is it for a HEAD."""
    watched = FaultyBackend(BACKEND)
    file = FileObject.from_dict({**stored().to_dict(), "backend": None}, watched)

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file)

    @head("/")
    async def look() -> FileDownload:
        return FileDownload(file)

    with serving(read, look) as client:
        assert client.get("/", headers={"If-None-Match": file.etag or ""}).status_code == 304
        assert client.head("/").headers["content-length"] == str(len(CONTENT))
        assert watched.faulty.calls == []
        assert client.get("/").content == CONTENT
        assert [call.operation for call in watched.faulty.calls] == ["get"]


def test_unsaved_files_are_refused() -> None:
    """A file that was not stored yet cannot be sent."""
    with pytest.raises(InvalidArgumentError):
        FileDownload(FileObject(BACKEND, "a.txt", content=b"x"))


# -- what surrounds a handler


def test_no_cookies() -> None:
    """Neither the session nor the CSRF token rides on a file that some cache might keep; other answers have both."""
    file = stored()

    @get("/file")
    async def read(request: Request[Any, Any, Any]) -> FileDownload:
        request.session["seen"] = True
        return FileDownload(file)

    @get("/other")
    async def other(request: Request[Any, Any, Any]) -> str:
        request.session["seen"] = True
        return ""

    session = CookieBackendConfig(secret=b"s" * 16)
    options: dict[str, Any] = {"middleware": [session.middleware], "csrf_config": CSRFConfig(secret="c" * 32)}
    with serving(read, other, **options) as client:
        assert client.get("/file").status_code == 200
        assert "set-cookie" not in client.get("/file").headers
        assert "session" in client.get("/other").headers["set-cookie"]


@pytest.mark.parametrize("key", [None, "our_own_key"])
def test_compression_lets_files_alone(key: str | None) -> None:
    """Files go out as they are stored, ranges too, while other answers are compressed."""
    file = stored()

    @get("/file")
    async def read() -> FileDownload:
        return FileDownload(file)

    @get("/maybe")
    async def maybe() -> FileDownload | Redirect:
        return FileDownload(file)

    @get("/text")
    async def text() -> str:
        return "x" * 5000

    with serving(read, maybe, text, compression_config=CompressionConfig("gzip", exclude_opt_key=key)) as client:
        assert client.get("/text").headers["content-encoding"] == "gzip"
        for path in ("/file", "/maybe"):
            answer = client.get(path, headers={"Range": "bytes=0-4999"})
            assert (answer.status_code, answer.headers["content-length"]) == (206, "5000")
            assert "content-encoding" not in answer.headers


def test_compression_of_unannounced_files_is_refused() -> None:
    """A handler whose annotation hides that it sends files fails loudly where compression would break ranges."""
    file = stored()

    @get("/")
    async def read() -> Response[Any]:
        return FileDownload(file)

    with serving(read, compression_config=CompressionConfig("gzip")) as client:
        assert client.get("/").status_code == 500
    with serving(read, compression_config=CompressionConfig("gzip", exclude=["^/$"])) as client:
        assert client.get("/").content == CONTENT


def test_the_response_cache_is_refused() -> None:
    """A cached download would hand the range of one client to the next."""

    @get("/", cache=True)
    async def read() -> FileDownload:
        raise NotImplementedError

    with pytest.raises(ImproperlyConfiguredException, match="cache"):
        Litestar([read], plugins=[FilestorePlugin(FilestoreConfig(ledger=None))])


def test_the_response_cache_is_refused_at_run_time() -> None:
    """Where the annotation hides the file, the first request tells."""
    file = stored()

    @get("/", cache=60)
    async def read() -> Response[Any]:
        return FileDownload(file)

    with serving(read) as client:
        assert client.get("/").status_code == 500
        assert client.get("/", headers={"Range": "bytes=0-1"}).status_code == 500


class _Encoding(ASGIMiddleware):
    """Claims to have compressed everything."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def encoded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-encoding", b"zip")]
            await send(message)

        await next_app(scope, receive, encoded)


def test_other_encodings_are_refused() -> None:
    """A middleware of somebody else that encodes files is found out as well."""
    file = stored()

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file)

    # By then Litestar believes that the answer has begun, and leaves the rest to the server, which sends a 500.
    with serving(read, middleware=[_Encoding()]) as client, pytest.raises(LitestarException):
        client.get("/")


def test_problem_details() -> None:
    """Refusals come in the format that the application has chosen."""
    file = stored()

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file)

    plugin = ProblemDetailsPlugin(ProblemDetailsConfig(enable_for_all_http_exceptions=True))
    with serving(read, plugins=[plugin]) as client:
        requests = ({"If-Match": '"x"'}, {"Range": "bytes=99999-"})
        refused = [client.get("/", headers=headers) for headers in requests]
    assert [answer.status_code for answer in refused] == [412, 416]
    assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}
    assert refused[1].headers["content-range"] == f"bytes */{len(CONTENT)}"


def test_without_the_plugin() -> None:
    """The response works in an application that has no plugin, with the defaults."""
    file = stored()

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file)

    with TestClient(Litestar([read])) as client:
        answer = client.get("/", headers={"Range": "bytes=1-2"})
        assert (answer.status_code, answer.content) == (206, b"12")
        assert PROTECTIVE.items() <= dict(answer.headers).items()
        assert client.get("/", headers={"Range": "bytes=99999-"}).status_code == 416


def test_openapi() -> None:
    """The document is valid and knows the statuses of a download, also beside other answers."""

    @get("/a")
    async def read() -> FileDownload:
        raise NotImplementedError

    @get("/b", response_description="Your invoice")
    async def maybe() -> FileDownload | Redirect:
        raise NotImplementedError

    with serving(read, maybe) as client:
        document = client.get("/schema/openapi.json").json()
    validate(document)
    for path, description in (("/a", "Request fulfilled, document follows"), ("/b", "Your invoice")):
        responses = document["paths"][path]["get"]["responses"]
        assert {"200", "206", "304", "404", "412", "416"} <= set(responses)
        assert responses["200"]["description"] == description
        binary = {"schema": {"type": "string", "format": "binary"}}
        assert responses["200"]["content"] == {
            "application/octet-stream": binary,
            "*/*": binary,
        }
        assert set(responses["206"]["content"]) == {"application/octet-stream", "*/*", "multipart/byteranges"}
        assert "content" not in responses["304"]
