"""One backend of fsspec in several event loops, threads and processes."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver
from litestar_filestore.errors import ObjectNotFoundError
from tests.backends.fsspec_stores import make_bucket, s3_backend, s3_options
from tests.servers.s3 import S3Server

CONTENT = bytes(range(256)) * 40_000
CHILD_FAILED = 3


@pytest.fixture
def bucket(moto_server: S3Server) -> str:
    """Make a bucket."""
    return make_bucket(moto_server)


def instance(server: S3Server, **options: Any) -> S3FileSystem:
    """Make a file system of the user's own."""
    return S3FileSystem(**s3_options(server), skip_instance_cache=True, **options)


async def use(backend: FSSpecBackend, key: str) -> None:
    """Write, read and list with the async half."""
    await backend.put_async(CONTENT, key=key, overwrite=True)
    assert await backend.get_content_async(key) == CONTENT
    assert key in [info.key async for info in backend.list_async()]


def use_sync(backend: FSSpecBackend, key: str) -> None:
    """Write, read and list with the sync half."""
    backend.put(CONTENT, key=key, overwrite=True)
    assert backend.get_content(key) == CONTENT
    assert key in [info.key for info in backend.list()]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_given_instance_works_in_every_way(moto_server: S3Server, bucket: str, *, asynchronous: bool) -> None:
    """An instance of either mode works from sync calls, and from event loops one after the other."""

    async def given() -> FSSpecBackend:
        backend = FSSpecBackend("files", instance(moto_server, asynchronous=asynchronous), bucket)
        await use(backend, "a")
        return backend

    backend = asyncio.run(given())
    use_sync(backend, "b")
    asyncio.run(use(backend, "c"))
    use_sync(backend, "d")
    backend.close()


def test_loops_in_two_threads(moto_server: S3Server, bucket: str) -> None:
    """Two event loops may use one asynchronous instance at the same time."""
    backend = FSSpecBackend("files", instance(moto_server, asynchronous=True), bucket)
    failures: list[BaseException] = []
    meeting = threading.Barrier(2)

    def work(key: str) -> None:
        try:
            meeting.wait(timeout=10)
            asyncio.run(use(backend, key))
        except BaseException as error:  # noqa: BLE001  # handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(key,)) for key in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backend.close()
    assert failures == []


def test_closing_in_one_loop_spares_the_other(moto_server: S3Server, bucket: str) -> None:
    """`close_async` frees what belongs to its loop; a read in another loop goes on."""
    backend = s3_backend(moto_server, bucket)
    backend.put(CONTENT, key="a")

    async def close_elsewhere() -> None:
        await backend.head_async("a")
        await backend.close_async()

    async def read() -> bytes:
        blocks = backend.get_async("a")
        first = await anext(blocks)
        await asyncio.to_thread(asyncio.run, close_elsewhere())
        content = first + b"".join([block async for block in blocks])
        await backend.close_async()
        return content

    assert asyncio.run(read()) == CONTENT


def test_closed_backend_opens_again(moto_server: S3Server, bucket: str) -> None:
    """A closed backend makes a new instance when it is used again."""
    backend = s3_backend(moto_server, bucket)
    use_sync(backend, "a")
    driver = backend.storage_driver
    assert isinstance(driver, FSSpecDriver)
    first = driver.fs
    backend.close()
    use_sync(backend, "b")
    assert driver.fs is not first
    backend.close()


def test_given_instance_is_not_closed(moto_server: S3Server, bucket: str) -> None:
    """What the caller made stays the caller's to close."""
    fs = instance(moto_server, config_kwargs={"signature_version": "s3v4"})
    backend = FSSpecBackend("files", fs, bucket)
    use_sync(backend, "a")
    backend.close()
    assert fs.cat_file(f"{bucket}/a") == CONTENT
    fs.s3  # noqa: B018  # the client is still there
    S3FileSystem.close_session(fs.loop, vars(fs)["_s3creator"])


async def test_folder_of_an_asynchronous_instance(moto_server: S3Server, bucket: str) -> None:
    """Fsspec's folder in front of an asynchronous file system is part of the path."""
    fs = DirFileSystem(f"{bucket}/outer", instance(moto_server, asynchronous=True), asynchronous=True)
    backend = FSSpecBackend("files", fs, "inner")
    await use(backend, "a")
    whole = s3_backend(moto_server, bucket)
    assert [info.key async for info in whole.list_async()] == ["outer/inner/a"]
    await backend.close_async()
    await whole.close_async()


async def test_wrapper_of_a_sync_file_system() -> None:
    """Fsspec's wrapper that runs a sync file system in threads is taken off."""
    memory = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    backend = FSSpecBackend("files", AsyncFileSystemWrapper(memory))
    await use(backend, "a")
    assert memory.cat_file("/a") == CONTENT


def test_sync_half_inside_a_running_loop(moto_server: S3Server, bucket: str) -> None:
    """A sync call on the thread of an event loop works: the file system has another loop."""
    backend = s3_backend(moto_server, bucket)

    async def main() -> None:
        use_sync(backend, "a")
        await use(backend, "b")
        await backend.close_async()

    asyncio.run(main())


def test_sync_call_in_the_loop_of_the_file_system(moto_server: S3Server, bucket: str) -> None:
    """A sync call there would wait for itself; it is refused instead."""
    backend = s3_backend(moto_server, bucket)

    async def call() -> None:
        with pytest.raises(RuntimeError, match="own event loop"):
            backend.head("a")

    asyncio.run_coroutine_threadsafe(call(), backend.fs.loop).result(timeout=10)
    backend.close()


def test_after_a_fork(moto_server: S3Server, bucket: str) -> None:
    """A worker process that was forked off after the backend was used makes an instance of its own."""
    backend = s3_backend(moto_server, bucket)
    use_sync(backend, "a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        status = CHILD_FAILED
        try:
            use_sync(backend, "b")
            asyncio.run(use(backend, "c"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(info.key for info in backend.list()) == ["a", "b", "c"]
    backend.close()


async def cancelled(backend: FSSpecBackend, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Cancel some work when it has begun, and see that it ends at once."""
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_calls_end_with_their_task(moto_server: S3Server, bucket: str) -> None:
    """Cancelling a call ends it in the other loop too, and the backend goes on working."""
    backend = s3_backend(moto_server, bucket)
    await backend.put_async(CONTENT, key="a")
    running = asyncio.all_tasks(backend.fs.loop)
    for _ in range(20):
        await cancelled(backend, lambda: backend.head_async("a"))
        await cancelled(backend, lambda: backend.get_content_async("a"))
    assert asyncio.all_tasks(backend.fs.loop) <= running
    assert (await backend.head_async("a")).size == len(CONTENT)
    await backend.close_async()


async def test_abandoned_read_leaves_nothing_running(moto_server: S3Server, bucket: str) -> None:
    """Closing a read gives up the request that was sent ahead."""
    backend = s3_backend(moto_server, bucket)
    await backend.put_async(CONTENT, key="a")
    running = asyncio.all_tasks(backend.fs.loop)
    blocks = backend.get_async("a")
    await anext(blocks)
    await blocks.aclose()
    assert asyncio.all_tasks(backend.fs.loop) <= running
    await backend.close_async()


async def test_source_on_the_callers_loop(moto_server: S3Server, bucket: str) -> None:
    """An async source is read in the caller's loop, whatever loop the file system lives in."""
    backend = s3_backend(moto_server, bucket)
    here = asyncio.get_running_loop()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(3):
            assert asyncio.get_running_loop() is here
            await asyncio.sleep(0)
            yield CONTENT[:1000]

    assert (await backend.put_async(source(), key="a")).size == 3000
    with pytest.raises(ObjectNotFoundError):
        await backend.head_async("b")
    await backend.close_async()


def test_read_collected_in_the_loop_of_the_file_system(moto_server: S3Server, bucket: str) -> None:
    """A read that the garbage collector ends in the thread of that loop does not wait for itself."""
    backend = s3_backend(moto_server, bucket)
    backend.put(CONTENT, key="a")
    reads = [backend.get("a")]
    next(reads[0])
    loop = backend.fs.loop
    before = asyncio.all_tasks(loop)

    async def collect() -> None:
        reads.clear()

    asyncio.run_coroutine_threadsafe(collect(), loop).result(timeout=10)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=10)
    assert asyncio.all_tasks(loop) <= before
    backend.close()
