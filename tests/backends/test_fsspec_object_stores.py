"""S3, Azure and Google Cloud Storage through fsspec: what is ours there, not the libraries'."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from s3fs import S3FileSystem

from litestar_filestore.backends.fsspec import s3 as fsspec_s3, s3 as fsspec_s3_transfers
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.fsspec.s3 import S3Store
from litestar_filestore.backends.fsspec.store import Place
from litestar_filestore.core.types import PutOptions
from litestar_filestore.errors import ObjectChangedError, ObjectExistsError, UnsupportedOperationError
from tests.backends.fsspec_stores import (
    azure_backend,
    gcs_backend,
    make_bucket,
    make_container,
    pending_uploads,
    s3_backend,
    s3_options,
)
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.s3 import S3Server

MIB = 1024 * 1024
LARGE_MIB = 100
SERVERS = {"ceph": "s3_server", "moto": "moto_server", "azure": "azure_server", "gcs": "gcs_json_server"}


@pytest.fixture(params=SERVERS)
def backend(request: pytest.FixtureRequest) -> Iterator[FSSpecBackend]:
    """Make a backend on each server, in a bucket of its own."""
    server = request.getfixturevalue(SERVERS[request.param])
    if isinstance(server, S3Server):
        made = s3_backend(server, make_bucket(server))
    elif isinstance(server, AzureServer):
        made = azure_backend(server, make_container(server))
    else:
        assert isinstance(server, GcsJsonServer)
        name = f"bucket-{secrets.token_hex(4)}"
        server.create_bucket(name)
        made = gcs_backend(server, name)
    yield made
    made.close()


def blocks(count: int) -> Iterator[bytes]:
    """Yield `count` different blocks of a mebibyte."""
    block = os.urandom(MIB)
    for number in range(count):
        yield number.to_bytes(4, "big") + block[4:]


async def blocks_async(count: int) -> AsyncIterator[bytes]:
    """Yield what `blocks` yields."""
    for block in blocks(count):
        yield block


@pytest.mark.slow
async def test_large_object_round_trips(backend: FSSpecBackend) -> None:
    """100 MiB of unknown length arrive as they were sent, in parts and with bounded steps."""
    info = await backend.put_async(blocks_async(LARGE_MIB), key="a")
    digest, largest = hashlib.sha256(), 0
    async for block in backend.get_async("a"):
        digest.update(block)
        largest = max(largest, len(block))
    assert (info.size, info.checksum) == (LARGE_MIB * MIB, f"sha256:{digest.hexdigest()}")
    assert largest <= 4 * MIB


@pytest.mark.matrix(cases=1)
@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 16 * MIB, 16 * MIB + 1])
def test_sizes_around_a_part(backend: FSSpecBackend, size: int) -> None:
    """Content that just fits into parts, or just does not, is stored as it is."""
    content = os.urandom(size)
    backend.put(content, key="a", part_bytes=5 * MIB)
    assert backend.get_content("a") == content
    assert backend.head("a").size == size


def test_small_pieces_are_stored(backend: FSSpecBackend) -> None:
    """Pieces of any size, in a buffer that the source uses again, arrive as they were."""
    buffer = bytearray(1000)

    def pieces() -> Iterator[memoryview]:
        for number in range(7000):
            buffer[:] = number.to_bytes(2, "big") * 500
            yield memoryview(buffer)

    backend.put(pieces(), key="a")
    content = backend.get_content("a")
    assert content == b"".join(number.to_bytes(2, "big") * 500 for number in range(7000))


@pytest.mark.parametrize("backend", ["ceph", "moto", "azure"], indirect=True)  # the emulator of GCS has no versions
async def test_reader_of_a_replaced_object(backend: FSSpecBackend) -> None:
    """A read that is under way when its object is replaced does not mix the two."""
    await backend.put_async(blocks_async(20), key="a")
    reading = backend.get_async("a")
    await anext(reading)
    await backend.put_async(blocks_async(20), key="a", overwrite=True)
    with pytest.raises(ObjectChangedError):
        async for _ in reading:
            pass


async def test_taken_key_is_refused_for_large_objects(backend: FSSpecBackend) -> None:
    """A put in parts does not replace an object without leave."""
    await backend.put_async(b"old", key="a")
    with pytest.raises(ObjectExistsError):
        await backend.put_async(blocks_async(20), key="a")
    assert await backend.get_content_async("a") == b"old"


async def test_cancelled_s3_upload_leaves_nothing_pending(s3_server: S3Server) -> None:
    """Wherever a put in parts is cancelled, no upload stays behind that nobody sees and somebody pays for."""
    bucket = make_bucket(s3_server)
    backend = s3_backend(s3_server, bucket)
    for stop in range(0, 24, 3):
        reached = asyncio.Event()
        upload = asyncio.create_task(backend.put_async(_stopping(stop, reached), key="a"))
        await reached.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert not await backend.exists_async("a")
    assert pending_uploads(s3_server, bucket) == []
    await backend.close_async()


async def _stopping(stop: int, reached: asyncio.Event) -> AsyncIterator[bytes]:
    for number in range(24):
        if number == stop:
            reached.set()
        yield bytes(MIB)


def test_bucket_in_the_prefix(s3_server: S3Server) -> None:
    """The bucket may be the first part of the prefix, as in Advanced Alchemy, in every operation."""
    bucket = make_bucket(s3_server)
    backend = FSSpecBackend("files", "s3", f"{bucket}/docs", **s3_options(s3_server))
    backend.put(b"x", key="a/b")
    backend.copy("a/b", "c")
    assert sorted(info.key for info in backend.list()) == ["a/b", "c"]
    assert [info.key for info in backend.list("a")] == ["a/b"]
    assert backend.get_content("c") == b"x"
    assert backend.clean(older_than=0) == 0
    backend.delete(["a/b", "c", "missing"])
    assert list(backend.list()) == []
    backend.close()


def test_large_s3_copy_keeps_everything(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is too large for one request is copied in parts, with its type and metadata."""
    monkeypatch.setattr(fsspec_s3, "_COPY_BYTES", 6 * MIB)
    monkeypatch.setattr(fsspec_s3_transfers, "_COPY_PART_BYTES", 5 * MIB)
    backend = s3_backend(s3_server, make_bucket(s3_server))
    content = os.urandom(12 * MIB)
    backend.put(content, key="a", content_type="image/png", metadata={"colour": "red"})
    backend.copy("a", "b")
    info = backend.head("b")
    assert (info.content_type, dict(info.metadata)) == ("image/png", {"colour": "red"})
    assert backend.get_content("b") == content
    backend.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_s3_links_are_signed_with_version_4(s3_server: S3Server, *, asynchronous: bool) -> None:
    """An instance that was made without s3fs's setting for it signs with version 4 as well, in either mode."""
    bucket = make_bucket(s3_server)
    fs = S3FileSystem(**s3_options(s3_server), asynchronous=asynchronous, skip_instance_cache=True)
    backend = FSSpecBackend("files", fs, bucket)
    backend.put(b"content", key="a b?c")
    url = backend.sign("a b?c", expires_in=60)
    assert isinstance(url, str)
    assert parse_qs(urlsplit(url).query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert httpx.get(url).content == b"content"
    backend.close()


async def test_gcs_links_are_signed_with_version_4(gcs_server: GcsServer) -> None:
    """A service account's key makes links that Google's rules accept, for reading and for writing."""
    bucket = make_bucket(gcs_server)
    backend = FSSpecBackend("files", f"gs://{bucket}", "docs", token=str(gcs_server.service_account_path))
    async with httpx.AsyncClient() as client:
        for key in ("a", "a b&c", "ü%2F?#;"):
            put = await backend.sign_async(key, expires_in=60, for_upload=True)
            get = await backend.sign_async(key, expires_in=60)
            assert isinstance(put, str)
            assert isinstance(get, str)
            sent = await client.put(_at(put, gcs_server.endpoint), content=key.encode())
            assert sent.is_success, sent.text
            assert (await client.get(_at(get, gcs_server.endpoint))).text == key
            assert (await client.delete(_at(get, gcs_server.endpoint))).status_code == httpx.codes.FORBIDDEN
    await backend.close_async()


def _at(url: str, endpoint: str) -> httpx.URL:
    assert url.startswith("https://storage.googleapis.com/")
    return httpx.URL(endpoint + url.removeprefix("https://storage.googleapis.com"))


def test_anonymous_access_cannot_sign(moto_server: S3Server, gcs_json_server: GcsJsonServer) -> None:
    """Without credentials there is nothing to sign with, and the error says so."""
    s3 = FSSpecBackend("files", "s3://bucket", anon=True, endpoint_url=moto_server.endpoint)
    gcs = gcs_backend(gcs_json_server, "bucket")
    for backend in (s3, gcs):
        with pytest.raises(UnsupportedOperationError):
            backend.sign("a", expires_in=60)
        backend.close()


def test_parts_of_equal_size(moto_server: S3Server) -> None:
    """Parts grow with their number unless s3fs is told that the server wants them equal."""
    growing = s3_backend(moto_server, "bucket")
    equal = s3_backend(moto_server, "bucket", fixed_upload_size=True)
    sizes = []
    for backend in (growing, equal):
        store = S3Store(backend.fs, Place("bucket/", ""))
        upload = store.upload("a", PutOptions())
        sizes.append([upload.part_size(number) // MIB for number in (0, 999, 1000, 9999)])
        backend.close()
    assert sizes == [[5, 5, 10, 50], [5, 5, 5, 5]]


def test_announced_length_makes_parts_large_enough(moto_server: S3Server) -> None:
    """A terabyte that is announced goes into fewer than S3's 10,000 parts."""
    backend = s3_backend(moto_server, "bucket", fixed_upload_size=True)
    store = S3Store(backend.fs, Place("bucket/", ""))
    upload = store.upload("a", PutOptions(size=1024**4))
    assert 1024**4 / upload.part_size(0) < 10_000
    backend.close()
