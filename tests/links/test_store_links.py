"""The store's own links fix the headers of the answer, and nobody else can."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from litestar_filestore import LinkConfig, MemoryBackend, StorageBackend, storages
from litestar_filestore.core.types import SignedAnswer
from litestar_filestore.errors import UnsupportedOperationError
from tests.links.conftest import Clock, Serve, put, s3_backend
from tests.servers.s3 import S3Server


@pytest.fixture
def s3(s3_server: S3Server, bucket: str, clock: Clock) -> StorageBackend:
    """An empty folder of S3, and a clock that is right."""
    clock.now = time.time()
    return s3_backend(s3_server, bucket)


def status(url: str) -> int:
    """Return what a store answers."""
    return httpx.get(url, trust_env=False, timeout=30).status_code


def test_no_parameter_can_be_changed(s3: StorageBackend, serve: Serve) -> None:
    """A link whose name, type, disposition, life or key was changed opens nothing."""
    serve(s3)
    url = storages.url_for(put(s3), filename="a.pdf")
    parameters = parse_qsl(urlsplit(url).query)
    changed = {name: url.replace(f"{name}=", f"{name}=x", 1) for name, _ in parameters}
    changed["path"] = url.replace("?", "x?", 1)
    assert status(url) == 200
    assert {name: status(other) for name, other in changed.items() if status(other) == 200} == {}


def test_no_parameter_can_be_left_out(s3: StorageBackend, serve: Serve) -> None:
    """Without its disposition a link would show what it should save."""
    serve(s3)
    url = storages.url_for(put(s3))
    base, _, query = url.partition("?")
    parts = query.split("&")
    shorter = [f"{base}?{'&'.join([*parts[:index], *parts[index + 1 :]])}" for index in range(len(parts))]
    assert [other for other in shorter if status(other) == 200] == []


def test_links_of_one_window_are_the_same(s3: StorageBackend, serve: Serve, clock: Clock) -> None:
    """Caches recognise the store's links as well."""
    serve(s3)
    clock.now = clock.now // 60 * 60
    file = put(s3)
    urls: list[str] = []
    for after in (0, 59, 60):
        clock.now += after - (59 if after == 60 else 0)
        urls.append(storages.url_for(file))
    assert (urls[0] == urls[1], urls[0] == urls[2]) == (True, False)


@pytest.mark.parametrize("key", ["a b+c", "a%2Fb", "ü/日本語", "a&b=c;d", "it's (1)", "a#b", "a?b", "~a*"])
def test_odd_key_is_linked_right(s3: StorageBackend, serve: Serve, key: str) -> None:
    """A link leads to the object of its key, whatever characters that has."""
    serve(s3)
    s3.put(key.encode(), key=key)
    answer = SignedAnswer(
        content_type="text/plain",
        content_disposition='attachment; filename="a.txt"',
        signed_at=int(time.time()),
        expires_in=60,
    )
    got = httpx.get(s3.sign_answer(key, answer), trust_env=False)
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, key.encode(), "text/plain")


def test_link_to_s3_ends(s3: StorageBackend, serve: Serve, clock: Clock) -> None:
    """The store refuses a link whose life is over."""
    serve(s3)
    clock.now -= 1000
    assert status(storages.url_for(put(s3), expires_in=300)) == 403


def test_credentials_of_the_environment_sign(
    s3_server: S3Server, bucket: str, serve: Serve, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the backend names no credentials, those of the environment are used."""
    clock.now = time.time()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    backend = s3_backend(s3_server, bucket, aws_access_key_id=None, aws_secret_access_key=None)
    serve(backend)
    url = storages.url_for(put(backend))
    assert (url.startswith(s3_server.endpoint), status(url)) == (True, 200)


def test_credentials_of_a_provider_sign(s3_server: S3Server, bucket: str, serve: Serve, clock: Clock) -> None:
    """Credentials that change are asked for with every link."""
    clock.now = time.time()

    def provide() -> Any:
        return {
            "access_key_id": s3_server.access_key,
            "secret_access_key": s3_server.secret_key,
            "token": None,
            "expires_at": None,
        }

    backend = s3_backend(
        s3_server, bucket, credential_provider=provide, aws_access_key_id=None, aws_secret_access_key=None
    )
    serve(backend)
    url = storages.url_for(put(backend))
    assert (url.startswith(s3_server.endpoint), status(url)) == (True, 200)


def test_native_links_can_be_switched_off(s3: StorageBackend, serve: Serve) -> None:
    """Then all links are the application's."""
    serve(s3, links=LinkConfig(native=False))
    assert storages.url_for(put(s3)).startswith("/filestore/")


def test_store_that_signs_no_headers_says_so(memory: MemoryBackend) -> None:
    """A driver without such links says that it cannot, as a ``NotImplementedError`` too."""
    answer = SignedAnswer(content_type="a/b", content_disposition="attachment", signed_at=0, expires_in=1)
    with pytest.raises(UnsupportedOperationError) as caught:
        memory.sign_answer("a", answer)
    assert isinstance(caught.value, NotImplementedError)
