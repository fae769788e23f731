"""Secrets and links are checked when the configuration is made, and asked for only where links are used."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar, get
from litestar.config.csrf import CSRFConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from litestar.testing import TestClient

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LinkConfig, MemoryBackend, storages
from litestar_filestore.errors import ConfigurationError
from tests.links.conftest import OTHER_SECRET, SECRET, Serve, put


@get("/file", sync_to_thread=False)
def show(file: NamedDependency[FileObject]) -> FileObject:
    """Return the file."""
    return file


@get("/hello", sync_to_thread=False)
def hello() -> str:
    """Return a word."""
    return "hello"


def test_application_without_links_needs_no_secret(memory: MemoryBackend) -> None:
    """Who uses no links starts without a secret, serves none, and shows no URLs."""
    file = put(memory)
    dependencies = {"file": Provide(lambda: file, sync_to_thread=False)}
    app = Litestar([show], plugins=[FilestorePlugin(FilestoreConfig([memory]))], dependencies=dependencies)
    with TestClient(app) as client:
        assert client.get("/file").json()["url"] is None
        assert client.get("/filestore/x").status_code == 404
        assert storages.link_maker is None


def test_links_without_a_secret_are_refused() -> None:
    """Who configures links has to say what signs them."""
    with pytest.raises(ConfigurationError, match="secret"):
        FilestoreConfig(links=LinkConfig())


@pytest.mark.parametrize("secret", ["", "short", "changeme" * 8, b"\0" * 64, [], [SECRET, "changeme"]])
def test_weak_secret_is_refused(secret: Any) -> None:
    """A secret that can be guessed is an error before the application starts."""
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        FilestoreConfig(secret=secret)


def test_secret_is_not_shown() -> None:
    """The text of a configuration ends up in logs."""
    assert SECRET not in repr(FilestoreConfig(secret=SECRET))


@pytest.mark.parametrize(
    "options",
    [
        {"path": ""},
        {"path": "files"},
        {"path": "/files/"},
        {"path": "/{x:str}"},
        {"public_url": "files.example.com"},
        {"public_url": "ftp://files.example.com"},
        {"public_url": "https://user:pass@files.example.com"},
        {"public_url": "https://files.example.com/?a=b"},
        {"public_url": "javascript:alert(1)"},
        {"expires_in": 0},
        {"upload_expires_in": -1},
        {"reference_expires_in": 8 * 24 * 3600},
        {"max_expires_in": 8 * 24 * 3600},
        {"expires_in": 600, "max_expires_in": 300},
        {"window_seconds": 0},
        {"max_upload_bytes": 0},
    ],
)
def test_option_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    """Wrong options are errors when they are given."""
    with pytest.raises(ConfigurationError):
        LinkConfig(**options)


@pytest.mark.parametrize(
    ("cache", "expected"),
    [("private", "private, max-age=269"), ("public", "public, max-age=269"), ("no-store", "private, no-store")],
)
def test_copy_does_not_outlive_the_link(memory: MemoryBackend, serve: Serve, cache: Any, expected: str) -> None:
    """Caches keep a file as long as its link lives, or not at all."""
    served = serve(memory, links=LinkConfig(cache=cache))
    url = storages.url_for(put(memory))  # 30 seconds of the window have passed
    served.clock.now += 0.6
    assert served.client.get(url).headers["cache-control"] == expected


def test_unchanged_file_is_304(memory: MemoryBackend, serve: Serve) -> None:
    """A cached copy is confirmed without a byte of the object."""
    client = serve(memory).client
    url = storages.url_for(put(memory))
    etag = client.get(url).headers["etag"]
    answer = client.get(url, headers={"if-none-match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_range_of_a_link(memory: MemoryBackend, serve: Serve) -> None:
    """Links serve ranges like any download."""
    client = serve(memory).client
    answer = client.get(storages.url_for(put(memory, b"0123456789")), headers={"range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


class Nobody(AbstractAuthenticationMiddleware):
    """Lets nobody in."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Refuse."""
        from litestar.exceptions import NotAuthorizedException

        raise NotAuthorizedException


def test_link_needs_no_login(memory: MemoryBackend, serve: Serve) -> None:
    """Who holds a link has been let in; authentication and CSRF middleware leave the routes alone."""
    served = serve(
        memory,
        [hello],
        middleware=[DefineMiddleware(Nobody)],
        csrf_config=CSRFConfig(secret="x" * 32),
    )
    assert served.client.get("/hello").status_code == 401
    assert served.client.get(storages.url_for(put(memory))).status_code == 200
    url = storages.url_for(FileObject(memory, "a.txt"), for_upload=True)
    assert served.client.put(url, content=b"abc").status_code == 201


def test_routes_of_links_are_not_documented(memory: MemoryBackend, serve: Serve) -> None:
    """Clients follow links, they do not make them."""
    assert serve(memory, [hello]).client.get("/schema/openapi.json").json()["paths"].keys() == {"/hello"}


def test_applications_of_one_process_make_their_own_links(serve: Serve) -> None:
    """Each application shows links that it serves itself."""
    first, second = MemoryBackend("first"), MemoryBackend("second")

    def start(backend: MemoryBackend, secret: str) -> TestClient[Litestar]:
        file = put(backend)
        dependencies = {"file": Provide(lambda: file, sync_to_thread=False)}
        links = LinkConfig(path=f"/{backend.key}")
        return serve(backend, [show], secret=secret, links=links, dependencies=dependencies).client

    clients = [start(first, SECRET), start(second, OTHER_SECRET)]
    urls = [client.get("/file").json()["url"] for client in clients]
    assert [client.get(url).status_code for client, url in zip(clients, urls, strict=True)] == [200, 200]
    assert [client.get(url).status_code for client, url in zip(clients, urls[::-1], strict=True)] == [404, 404]


async def test_scripts_make_links(memory: MemoryBackend) -> None:
    """Inside of `opened`, links can be made without an application; after it they cannot."""
    config = FilestoreConfig([memory], secret=SECRET, links=LinkConfig(public_url="https://example.com"))
    async with config.opened():
        assert storages.url_for(put(memory)).startswith("https://example.com/filestore/")
    assert storages.link_maker is None


async def test_last_to_start_makes_links_until_it_stops(memory: MemoryBackend) -> None:
    """Outside of requests the one that started last makes the links, in whatever order they stop."""
    configs = [FilestoreConfig([memory], secret=SECRET, links=LinkConfig(path=path)) for path in ("/first", "/second")]
    file = put(memory)
    first, second = (config.opened() for config in configs)
    await first.__aenter__()
    await second.__aenter__()
    both = storages.url_for(file)
    await first.__aexit__(None, None, None)
    one = storages.url_for(file)
    await second.__aexit__(None, None, None)
    assert (both.split("/")[1], one.split("/")[1], storages.link_maker) == ("second", "second", None)
