"""Faults on purpose: what is planned happens, at the call that was named, and nothing else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import BackendUnavailableError, ObjectNotFoundError, StorageError, StorageFullError
from litestar_filestore.testing import Call, Fault, FaultyBackend, Operation

DOWN = BackendUnavailableError("down")
CONTENT = bytes(range(256)) * 20_000
"""More than one block."""


def faulty(*plan: Fault) -> FaultyBackend:
    """Wrap a memory backend that holds one object."""
    backend = MemoryBackend("documents", prefix="folder")
    backend.put(CONTENT, key="a")
    return FaultyBackend(backend, plan)


def test_without_a_plan_nothing_changes() -> None:
    """A faulty backend without faults stores and reads like the one underneath."""
    backend = faulty()
    backend.put(b"abc", key="b")
    assert b"".join(backend.get("b")) == b"abc"
    assert backend.key == "documents"
    assert backend.prefix == "folder"
    assert Capability.PUT_IF_ABSENT in backend.capabilities


async def test_the_async_half_without_a_plan() -> None:
    """All operations reach the driver in their async form as well."""
    backend = faulty()
    await backend.put_async(b"abc", key="b")
    assert await backend.get_content_async("b") == b"abc"
    assert (await backend.head_async("b")).size == 3
    assert await backend.copy_async("b", "c") == "c"
    assert [info.key async for info in backend.list_async()] == ["a", "b", "c"]
    await backend.delete_async(["b", "c"])
    assert await backend.clean_async() == 0
    with pytest.raises(NotImplementedError):
        await backend.sign_async("a")


@pytest.mark.parametrize("operation", ["put", "get", "head", "delete", "list", "copy", "sign", "clean", "local_path"])
def test_each_operation_can_fail(tmp_path: Path, operation: Operation) -> None:
    """The planned error comes out of the planned operation, with its place filled in."""
    backend = FaultyBackend(LocalBackend("documents", tmp_path / "root"), [Fault(operation, DOWN)])
    with pytest.raises(BackendUnavailableError) as caught:
        _call(backend, operation)
    assert caught.value.operation == operation


@pytest.mark.parametrize("operation", ["put", "get", "head", "delete", "list", "copy", "sign", "clean"])
async def test_each_async_operation_can_fail(operation: Operation) -> None:
    """The same holds for the async half."""
    with pytest.raises(BackendUnavailableError):
        await _call_async(faulty(Fault(operation, DOWN)), operation)


def test_error_at_the_third_call() -> None:
    """The calls of an operation are counted, and the other operations do not count."""
    backend = faulty(Fault("head", DOWN, call=3))
    backend.head("a")
    backend.delete("missing")
    backend.head("a")
    with pytest.raises(BackendUnavailableError):
        backend.head("a")
    assert backend.head("a").size == len(CONTENT)


async def test_both_halves_count_together() -> None:
    """The sync and the async form of an operation are the same operation."""
    backend = faulty(Fault("head", DOWN, call=2))
    backend.head("a")
    with pytest.raises(BackendUnavailableError):
        await backend.head_async("a")


def test_error_at_every_call() -> None:
    """Without a limit every call from the named one on fails."""
    backend = faulty(Fault("head", DOWN, call=2, times=None))
    backend.head("a")
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            backend.head("a")


def test_error_before_the_effect() -> None:
    """By default the driver underneath is not asked at all."""
    backend = faulty(Fault("delete", DOWN))
    with pytest.raises(BackendUnavailableError):
        backend.delete("a")
    assert backend.exists("a")


async def test_error_after_the_effect() -> None:
    """An answer that gets lost: the object is deleted, and the caller told of a failure."""
    backend = faulty(Fault("delete", DOWN, after_effect=True))
    with pytest.raises(BackendUnavailableError):
        await backend.delete_async("a")
    assert not backend.exists("a")


def test_put_that_breaks_in_the_middle() -> None:
    """A put that fails after some bytes leaves no object."""
    backend = faulty(Fault("put", StorageFullError("full"), after_bytes=2_000_000))
    with pytest.raises(StorageFullError):
        backend.put(CONTENT, key="b")
    assert not backend.exists("b")


async def test_put_that_is_cut_short() -> None:
    """A driver that stores less than it was given is noticed by the backend."""
    backend = faulty(Fault("put", after_bytes=10))
    with pytest.raises(StorageError, match="before it had read the whole source"):
        await backend.put_async(CONTENT, key="b")


async def test_get_that_breaks_in_the_middle() -> None:
    """A get that fails after some bytes has given exactly these."""
    backend = faulty(Fault("get", DOWN, after_bytes=1_500_000))
    seen = bytearray()

    async def read() -> None:
        async for block in backend.get_async("a"):
            seen.extend(block)

    with pytest.raises(BackendUnavailableError):
        await read()
    assert seen == CONTENT[:1_500_000]


def test_short_read() -> None:
    """A get without an error just ends, as a driver with a defect would."""
    assert b"".join(faulty(Fault("get", after_bytes=7)).get("a")) == CONTENT[:7]


def test_cut_behind_the_end_is_none() -> None:
    """A cut at more bytes than there are does nothing."""
    backend = faulty(Fault("get", DOWN, after_bytes=len(CONTENT) + 1))
    assert b"".join(backend.get("a")) == CONTENT


def test_delay() -> None:
    """A fault may only take time."""
    backend = faulty(Fault("head", delay_seconds=0.05))
    started = time.monotonic()
    assert backend.head("a").size == len(CONTENT)
    assert time.monotonic() - started >= 0.05


async def test_delay_leaves_the_event_loop_free() -> None:
    """While a call of the async half waits, others go on."""
    backend = faulty(Fault("head", delay_seconds=0.2))
    slow = asyncio.create_task(backend.head_async("a"))
    await asyncio.sleep(0)
    assert (await backend.head_async("a")).size == len(CONTENT)
    assert not slow.done()
    await slow


def test_library_errors_are_translated() -> None:
    """A planned error of the library underneath is taken for a real one."""
    with pytest.raises(ObjectNotFoundError) as caught:
        faulty(Fault("head", FileNotFoundError("/secret/path"))).head("a")
    assert (caught.value.operation, caught.value.key) == ("head", "a")


async def test_calls_are_recorded() -> None:
    """Each call is told with its paths, its half and its other arguments."""
    backend = faulty()
    backend.copy("a", "b", overwrite=True)
    assert [block async for block in backend.get_async("b", 1, 3)] == [CONTENT[1:3]]
    backend.delete(["a", "b"])
    assert backend.faulty.calls == [
        Call("copy", ("folder/a", "folder/b"), is_async=False, details=(True,)),
        Call("get", ("folder/b",), is_async=True, details=(1, 3)),
        Call("delete", ("folder/a", "folder/b"), is_async=False),
    ]


def _call(backend: StorageBackend, operation: Operation) -> None:
    match operation:
        case "put":
            backend.put(b"abc", key="b")
        case "get" | "list":
            list(backend.get("a") if operation == "get" else backend.list())
        case "copy":
            backend.copy("a", "b")
        case "clean":
            backend.clean()
        case _:
            getattr(backend, operation)("a")


PARTS = ("begin_parts", "put_part", "finish_parts", "abandon_parts")


@pytest.mark.parametrize("number", range(len(PARTS)), ids=PARTS)
async def test_each_step_of_an_object_in_parts_can_fail(number: int) -> None:
    """The steps before the planned one work, and the planned error has its place."""
    backend = faulty(Fault(PARTS[number], DOWN))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(BackendUnavailableError) as caught:
        await _put_in_parts(backend)
    assert caught.value.operation == PARTS[number]
    assert [call.operation for call in backend.faulty.calls] == [*PARTS[: number + 1]]
    assert backend.exists("b") is (number == 3)


async def _put_in_parts(backend: StorageBackend) -> None:
    upload = await backend.begin_parts_async("b")
    part = await backend.put_part_async("b", upload, 1, 0, CONTENT)
    await backend.finish_parts_async("b", upload, [part])
    backend.abandon_parts("b", upload)


async def _call_async(backend: StorageBackend, operation: Operation) -> None:
    match operation:
        case "put":
            await backend.put_async(b"abc", key="b")
        case "get":
            await backend.get_content_async("a")
        case "list":
            assert [info async for info in backend.list_async()]
        case "copy":
            await backend.copy_async("a", "b")
        case "clean":
            await backend.clean_async()
        case _:
            await getattr(backend, f"{operation}_async")("a")
