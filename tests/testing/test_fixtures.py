"""The fixtures for users' tests, and the gate that finds what tests leave behind."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import storages
from litestar_filestore.testing import fixtures
from litestar_filestore.testing.leaks import LeakGate, assert_no_tasks

memory_storage = fixtures.memory_storage


@pytest.fixture
def registered() -> Iterator[MemoryBackend]:
    """Register a backend as an application does when it is imported."""
    backend = MemoryBackend("application")
    storages.register_backend(backend)
    yield backend
    assert storages.all() == [backend]
    storages.unregister_backend("application")


def test_memory_storage_registers(memory_storage: Callable[..., MemoryBackend]) -> None:
    """The factory makes a backend that columns and file objects find by its key."""
    backend = memory_storage("documents", max_bytes=10)
    assert FileObject("documents", "a.txt", content=b"abc").save().backend is backend
    assert backend.max_bytes == 10


def test_memory_storage_makes_several(memory_storage: Callable[..., MemoryBackend]) -> None:
    """Several backends of one test do not share objects."""
    first, second = memory_storage("first"), memory_storage("second")
    first.put(b"abc", key="a")
    assert not second.exists("a")


def test_memory_storage_restores_the_registry(
    registered: MemoryBackend, memory_storage: Callable[..., MemoryBackend]
) -> None:
    """What a test replaces, removes and adds is undone, checked by the fixture that registered before it."""
    memory_storage("application")
    storages.unregister_backend("other")
    memory_storage("another")
    assert storages["application"] is not registered


def test_gate_finds_an_open_file(tmp_path: Path) -> None:
    """A file that is left open is named."""
    gate = LeakGate(settle_seconds=0)
    with (tmp_path / "left.txt").open("w"), pytest.raises(AssertionError, match=r"left\.txt"):
        gate.check()
    gate.check()


def test_gate_finds_an_open_socket() -> None:
    """A socket that is left open is told, if sockets count."""
    gate = LeakGate(sockets=True, settle_seconds=0)
    with socket.socket(), pytest.raises(AssertionError, match="socket:"):
        gate.check()


def test_gate_finds_a_temporary_file(tmp_path: Path) -> None:
    """A file that is left in the folder of temporary files is named."""
    gate = LeakGate(tmp_path)
    with tempfile.NamedTemporaryFile(dir=tmp_path, suffix=".left", delete=False) as file:
        pass
    with pytest.raises(AssertionError, match=r"\.left"):
        gate.check()
    Path(file.name).unlink()
    gate.check()


async def test_gate_finds_a_task() -> None:
    """A task that runs on is told, unless it is expected."""
    task = asyncio.create_task(asyncio.Event().wait(), name="left-over")
    with pytest.raises(AssertionError, match="left-over"):
        await assert_no_tasks(settle_seconds=0)
    await assert_no_tasks(expected=[task])
    task.cancel()
    await assert_no_tasks()
