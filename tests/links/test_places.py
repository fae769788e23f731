"""Links lead to the application, wherever it stands: below a path, mounted in another one, or behind a proxy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Scope, Send

from litestar_filestore import FileObject, LinkConfig, storages
from tests.links.place_app import build, mounted
from tests.servers.processes import TESTS_IMPORTABLE, Surroundings, free_port, running


def mount_like_starlette(inner: Litestar, at: str) -> ASGIApp:
    """Return what Starlette's ``Mount`` does since 0.33: the path stays whole, and ``root_path`` tells what to cut."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(cast("Scope", {**scope, "root_path": scope.get("root_path", "") + at}), receive, send)

    return cast("ASGIApp", app)


def check(client: Any, at: str, *, server: str = "") -> None:
    """Follow every kind of link that the application below `at` gives out."""
    url = client.get(f"{at}/file").json()["url"]
    assert url.startswith(f"{server}{at}/filestore/")
    target = client.get(f"{at}/redirect", follow_redirects=False).headers["location"]
    assert [client.get(each.removeprefix(server)).content for each in (url, target)] == [b"abc"] * 2
    upload = client.get(f"{at}/upload").text
    answer = client.put(upload.removeprefix(server), content=b"abc")
    assert answer.status_code == 201, answer.text
    assert client.get(answer.json()["url"].removeprefix(server)).content == b"abc"


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/"])
def test_links_of_an_application_with_a_path(path: str) -> None:
    """The path that is put before all routes is put before those of links, and the URLs say so."""
    with TestClient(build(path)) as client:
        check(client, path.rstrip("/"))


@pytest.mark.parametrize("path", ["/", "/api"])
def test_links_that_are_made_outside_of_requests(path: str) -> None:
    """While the application runs, links that no request asked for lead to it as well."""
    with TestClient(build(path)) as client:
        url = storages.url_for(FileObject("documents", "a.txt", content=b"abc").save())
        assert client.get(url).content == b"abc"


@pytest.mark.parametrize("outer", ["/", "/outer"])
@pytest.mark.parametrize("path", ["/", "/api"])
def test_links_of_an_application_that_litestar_has_mounted(path: str, outer: str) -> None:
    """Links begin with the place where another application has mounted this one."""
    at = f"{outer.rstrip('/')}/mnt{path.rstrip('/')}"
    with TestClient(mounted(build(path), "/mnt", outer)) as client:
        check(client, at)


@pytest.mark.parametrize("at", ["/admin", "/admin/list/", "/more/admin/a%20b"])
@pytest.mark.parametrize(("path", "outer"), [("/", None), ("/api", None), ("/api", "/mnt")])
def test_links_of_what_an_application_has_mounted(path: str, outer: str | None, at: str) -> None:
    """Links that something mounted in the application makes lead to the application, and so do all later ones."""
    inner, prefix = build(path), f"{outer or ''}{path.rstrip('/')}"
    with TestClient(inner if outer is None else mounted(inner, outer)) as client:
        url = client.get(f"{prefix}{at}").text
        assert url.startswith(f"{prefix}/filestore/")
        assert client.get(url).content == b"abc"
        check(client, prefix)


@pytest.mark.parametrize("path", ["/", "/api"])
def test_links_of_an_application_that_starlette_has_mounted(path: str) -> None:
    """The same for ``root_path``, with or without a path of the application."""
    inner = build(path)
    with TestClient(inner):
        transport = httpx.ASGITransport(app=cast("Any", mount_like_starlette(inner, "/mnt")))
        import anyio

        async def look() -> None:
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                at = f"/mnt{path.rstrip('/')}"
                url = (await client.get(f"{at}/file")).json()["url"]
                assert url.startswith(f"{at}/filestore/")
                assert (await client.get(url)).content == b"abc"

        anyio.run(look)


@pytest.mark.parametrize("path", ["/", "/api"])
def test_public_url_stands_for_what_the_application_does_not_see(path: str) -> None:
    """It replaces the mount and the ``root_path``, and the application's own path follows."""
    options = {"links": LinkConfig(public_url="https://files.example.com/behind")}
    with TestClient(mounted(build(path, **options), "/mnt")) as client:
        url = client.get(f"/mnt{path.rstrip('/')}/file").json()["url"]
        assert url.startswith(f"https://files.example.com/behind{path.rstrip('/')}/filestore/")
        assert client.get(url.replace("https://files.example.com/behind", "/mnt")).content == b"abc"


@pytest.mark.parametrize(
    "asked", ["//evil.example/mnt/file", "//mnt//file", "/mnt/%66ile", "/mnt/file/", "/mnt/file?/x"]
)
def test_spelling_of_a_request_does_not_change_links(asked: str) -> None:
    """Slashes and escapes that a client adds lead to no other place: a link never begins with two slashes."""
    with TestClient(mounted(build(), "/mnt")) as client:
        answer = client.get(f"http://testserver.local{asked}")
        if answer.status_code == 200:
            assert answer.json()["url"].startswith("/mnt/filestore/")
        else:
            assert answer.status_code == 404


@pytest.mark.parametrize(
    ("root_path", "environment", "at"),
    [
        ("/proxied", {}, ""),
        ("/proxied", {"FILESTORE_PATH": "/api"}, "/api"),
        ("/proxied", {"FILESTORE_MOUNT": "/mnt"}, "/mnt"),
        ("", {"FILESTORE_MOUNT": "/mnt", "FILESTORE_PATH": "/api"}, "/mnt/api"),
    ],
)
def test_links_under_uvicorn(tmp_path: Path, root_path: str, environment: dict[str, str], at: str) -> None:
    """Behind a proxy that cuts a prefix, which uvicorn is told with ``--root-path``, links begin with it."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "uvicorn", "tests.links.place_app:app", "--port", str(port)]
    command += ["--lifespan", "on", *(["--root-path", root_path] if root_path else [])]
    surroundings = Surroundings(environment={**TESTS_IMPORTABLE, **environment})
    with running("uvicorn", command, tmp_path, surroundings) as process:
        process.wait_for_port(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=_Proxy(root_path)) as client:
            check(client, f"{root_path}{at}")


class _Proxy(httpx.HTTPTransport):
    """Cuts a prefix from every path, as a proxy in front of the server does."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(path=request.url.path.removeprefix(self._prefix))
        return super().handle_request(request)
