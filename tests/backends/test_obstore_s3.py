"""Uploads and downloads through obstore on a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlsplit

import pytest

from litestar_filestore.backends.obstore import puts as obstore_write
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import (
    BackendUnavailableError,
    FileTooLargeError,
    ObjectChangedError,
    ObjectExistsError,
)
from tests.backends.obstore_stores import make_bucket, pending_uploads, s3_backend
from tests.servers.chaos import ChaosProxy, Cut
from tests.servers.s3 import S3Server

MIB = 1024 * 1024
BLOCK = random.Random(5).randbytes(MIB)


class SourceBrokenError(Exception):
    """What a source of these tests raises."""


def blocks(count: int, *, broken: bool = False) -> Iterator[bytes]:
    """Yield so many MiB, and break then if told so."""
    for _ in range(count):
        yield BLOCK
    if broken:
        raise SourceBrokenError


async def blocks_async(count: int, *, broken: bool = False) -> AsyncIterator[bytes]:
    """`blocks` for async puts."""
    for block in blocks(count, broken=broken):
        yield block


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """Make a bucket for the module."""
    return make_bucket(s3_server)


@pytest.fixture
def backend(s3_server: S3Server, bucket: str) -> Iterator[ObstoreBackend]:
    """Build a backend on it."""
    backend = s3_backend(s3_server, bucket)
    yield backend
    backend.close()


@pytest.fixture
async def chaos(s3_server: S3Server) -> AsyncIterator[ChaosProxy]:
    """Put a proxy in front of the server."""
    address = urlsplit(s3_server.endpoint)
    async with ChaosProxy(str(address.hostname), int(address.port or 0)) as proxy:
        yield proxy


def through(proxy: ChaosProxy, server: S3Server, bucket: str, *, timeout: str = "30s") -> ObstoreBackend:
    """Build a backend that reaches the server by the proxy and repeats nothing."""
    return s3_backend(
        server,
        bucket,
        aws_endpoint=f"http://127.0.0.1:{proxy.port}",
        client_options={"allow_http": True, "timeout": timeout},
        retry_config={"max_retries": 0},
    )


async def put_async(backend: ObstoreBackend, count: int, key: str, *, broken: bool = False) -> None:
    """Put so many MiB with the async half."""
    await backend.put_async(blocks_async(count, broken=broken), key=key)


async def put_sync(backend: ObstoreBackend, count: int, key: str, *, broken: bool = False) -> None:
    """Put so many MiB with the sync half."""
    backend.put(blocks(count, broken=broken), key=key)


Put = Callable[..., Awaitable[None]]
both_halves = pytest.mark.parametrize("put", [put_async, put_sync])


# -- how content goes up. The store's entity tag tells: "<md5>" from one request, "<md5 of md5s>-<parts>" from parts.


@pytest.mark.parametrize("mebibytes", [0, 1, 8])
async def test_up_to_a_part_goes_up_in_one_request(backend: ObstoreBackend, mebibytes: int) -> None:
    """An iterator of unknown length is no reason for an upload in parts, which costs three requests."""
    await backend.put_async(blocks_async(mebibytes), key="whole", overwrite=True)
    expected = hashlib.md5(BLOCK * mebibytes, usedforsecurity=False).hexdigest()
    assert (await backend.head_async("whole")).etag == f'"{expected}"'


@pytest.mark.parametrize(("part_bytes", "parts"), [(None, 3), (5 * MIB, 4), (1, 4), (10 * MIB, 2)])
async def test_more_than_a_part_goes_up_in_parts(backend: ObstoreBackend, part_bytes: int | None, parts: int) -> None:
    """Parts have the size that was asked for, but never less than the 5 MiB that S3 accepts."""
    await backend.put_async(blocks_async(18), key="parts", overwrite=True, part_bytes=part_bytes)
    assert str((await backend.head_async("parts")).etag).endswith(f'-{parts}"')


def test_more_than_a_part_goes_up_in_parts_sync(backend: ObstoreBackend) -> None:
    """The sync half cuts in the same way."""
    backend.put(blocks(18), key="parts-sync")
    assert str(backend.head("parts-sync").etag).endswith('-3"')


def test_part_size_of_the_backend(s3_server: S3Server, bucket: str) -> None:
    """A backend may have a part size of its own."""
    backend = s3_backend(s3_server, bucket, part_bytes=6 * MIB, max_concurrency=2)
    backend.put(blocks(18), key="parts-own")
    assert str(backend.head("parts-own").etag).endswith('-3"')


async def test_known_size_makes_parts_large_enough(backend: ObstoreBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content of known size never needs more parts than the store takes."""
    monkeypatch.setattr(obstore_write, "MAX_PARTS", 2)
    await backend.put_async(BLOCK * 30, key="known")
    assert str((await backend.head_async("known")).etag).endswith('-2"')


@both_halves
async def test_unknown_size_ends_with_the_last_part(
    backend: ObstoreBackend, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, put: Put
) -> None:
    """More bytes than the parts can hold are refused when they come, not when all have gone up."""
    monkeypatch.setattr(obstore_write, "MAX_PARTS", 2)
    with pytest.raises(FileTooLargeError, match="part_bytes") as caught:
        await put(backend, 17, "endless")
    assert caught.value.max_bytes == 16 * MIB
    assert pending_uploads(s3_server, bucket) == []


@both_halves
async def test_large_content_is_not_put_over_an_object(backend: ObstoreBackend, put: Put) -> None:
    """Above one part ``overwrite=False`` looks before anything goes up."""
    backend.put(b"old", key="taken", overwrite=True)
    with pytest.raises(ObjectExistsError):
        await put(backend, 20, "taken")
    assert b"".join(backend.get("taken")) == b"old"


@both_halves
async def test_without_conditional_puts_the_driver_looks_first(s3_server: S3Server, bucket: str, put: Put) -> None:
    """For servers that know no condition obstore can be told so; then the flag is gone and the check remains."""
    backend = s3_backend(s3_server, bucket, aws_conditional_put="disabled")
    backend.put(b"old", key="unconditional", overwrite=True)
    with pytest.raises(ObjectExistsError):
        await put(backend, 1, "unconditional")
    assert Capability.PUT_IF_ABSENT not in backend.capabilities


# -- what an interrupted upload leaves


@both_halves
async def test_broken_source_leaves_nothing_pending(
    backend: ObstoreBackend, s3_server: S3Server, bucket: str, put: Put
) -> None:
    """The upload in parts is aborted and the source's own exception comes out."""
    with pytest.raises(SourceBrokenError):
        await put(backend, 30, "broken", broken=True)
    assert pending_uploads(s3_server, bucket) == []
    assert not backend.exists("broken")


async def test_put_cancelled_while_the_source_is_waited_for(
    backend: ObstoreBackend, s3_server: S3Server, bucket: str
) -> None:
    """A client that sends no more does not keep the task, and the upload in parts is aborted."""
    waits = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        async for block in blocks_async(30):
            yield block
        waits.set()
        await asyncio.Event().wait()

    put = asyncio.create_task(backend.put_async(source(), key="cancelled"))
    await waits.wait()
    assert pending_uploads(s3_server, bucket) == ["cancelled"]
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert pending_uploads(s3_server, bucket) == []
    assert not await backend.exists_async("cancelled")


async def test_put_cancelled_while_the_store_is_slow(chaos: ChaosProxy, s3_server: S3Server, bucket: str) -> None:
    """Cancelled with parts under way and no room for more, the put waits for them and aborts the upload."""
    taken = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        async for block in blocks_async(13):
            yield block
        chaos.hold()
        taken.set()
        async for block in blocks_async(200):
            yield block

    put = asyncio.create_task(through(chaos, s3_server, bucket).put_async(source(), key="held"))
    await taken.wait()
    put.cancel()
    await asyncio.sleep(0)
    chaos.release()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert pending_uploads(s3_server, bucket) == []


async def test_source_is_read_in_the_task_of_the_caller(backend: ObstoreBackend) -> None:
    """A source may depend on its task: on its context, its cancel scope, its time limit."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def source() -> AsyncIterator[bytes]:
        for block in blocks(20):
            tasks.add(asyncio.current_task())
            yield block

    await backend.put_async(source(), key="task", overwrite=True)
    assert tasks == {asyncio.current_task()}


async def test_store_that_fails_ends_the_put(chaos: ChaosProxy, s3_server: S3Server, bucket: str) -> None:
    """A connection that breaks in the middle is an error while the source still has bytes, and leaves no task."""
    chaos.cut = Cut(after_bytes=12 * MIB, direction="to_server")
    chaos.cuts_left = 4
    backend = through(chaos, s3_server, bucket)
    before = asyncio.all_tasks()
    with pytest.raises(BackendUnavailableError):
        await backend.put_async(blocks_async(200), key="cut")
    assert not await backend.exists_async("cut")
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if "obstore" in repr(task.get_coro())} == set()


# -- reading


async def test_reader_that_stops_early_leaves_nothing_running(backend: ObstoreBackend) -> None:
    """Requests on their way are given up when the generator is closed."""
    await backend.put_async(blocks_async(20), key="early", overwrite=True)
    before = asyncio.all_tasks()
    reader = backend.get_async("early")
    first = await anext(reader)
    assert len(asyncio.all_tasks()) > len(before)
    await reader.aclose()
    assert first == (BLOCK * 20)[: len(first)]
    assert asyncio.all_tasks() == before


def test_object_deleted_while_it_is_read(backend: ObstoreBackend) -> None:
    """What was read is not taken for the whole."""
    backend.put(blocks(30), key="going", overwrite=True)
    reader = backend.get("going")
    next(reader)
    backend.delete("going")
    with pytest.raises(ObjectChangedError):
        list(reader)


async def test_object_deleted_while_it_is_read_async(backend: ObstoreBackend) -> None:
    """What was read is not taken for the whole, by the async half neither."""
    await backend.put_async(blocks_async(30), key="going", overwrite=True)
    reader = backend.get_async("going")
    await anext(reader)
    await backend.delete_async("going")
    with pytest.raises(ObjectChangedError):
        [block async for block in reader]


async def test_read_goes_on_after_a_broken_connection(chaos: ChaosProxy, s3_server: S3Server, bucket: str) -> None:
    """A connection that breaks in the middle of a download costs a repetition, not the download."""
    s3_backend(s3_server, bucket).put(blocks(20), key="resumed", overwrite=True)
    chaos.cut = Cut(after_bytes=6 * MIB, direction="to_client")
    chaos.cuts_left = 1
    backend = s3_backend(s3_server, bucket, aws_endpoint=f"http://127.0.0.1:{chaos.port}")
    content = b"".join([block async for block in backend.get_async("resumed")])
    assert content == BLOCK * 20
    assert chaos.cuts_left == 0


# -- memory

ROUND_TRIP = """
import asyncio, hashlib, json, os, sys
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

async def source(digest):
    for _ in range(200):
        block = os.urandom(1024 * 1024)
        digest.update(block)
        yield block

async def main():
    options = json.load(sys.stdin)
    backend = ObstoreBackend("files", digest=None, **options)
    await backend.put_async(b"x", key="first")
    at_start = peak()
    sent, received = hashlib.sha256(), hashlib.sha256()
    await backend.put_async(source(sent), key="large")
    async for block in backend.get_async("large"):
        received.update(block)
    print(json.dumps({"same": sent.digest() == received.digest(), "grown": peak() - at_start}))

asyncio.run(main())
"""


@pytest.mark.slow
def test_200_mib_come_back_in_flat_memory(s3_server: S3Server, bucket: str) -> None:
    """The parts and requests in flight are in memory, at most about 60 MiB of them, and not the object."""
    options = {
        "fs": f"s3://{bucket}/",
        "aws_endpoint": s3_server.endpoint,
        "aws_access_key_id": s3_server.access_key,
        "aws_secret_access_key": s3_server.secret_key,
        "client_options": {"allow_http": True},
    }
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", ROUND_TRIP]
    done = subprocess.run(command, input=json.dumps(options), capture_output=True, text=True, timeout=100, check=True)
    result = json.loads(done.stdout)
    assert result["same"]
    assert result["grown"] < 100
