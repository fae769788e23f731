"""Objects in parts in a local folder: a late part changes nothing that was published, and `clean` knows them."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest

from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.backends.local.unfinished import Unfinished
from litestar_filestore.core.sources import HeldBlocks
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import PARTS_KEPT_SECONDS
from litestar_filestore.errors import (
    FileTooLargeError,
    InvalidArgumentError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
)

UNTIL = pytest.mark.parametrize("step", ["publish", "remove"])


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    """Store below a folder of the test's own."""
    return LocalBackend("documents", tmp_path, fsync=False)


def hidden(backend: LocalBackend, root: Path) -> list[Path]:
    """List the files in the reserved folder."""
    backend.start()
    return sorted((root / ".filestore").glob("*"))


async def test_part_that_is_late_does_not_change_the_object(backend: LocalBackend) -> None:
    """A request that stalls within a part, while another one finishes the object, writes nothing more into it."""
    upload = await backend.begin_parts_async("a")
    first = await backend.put_part_async("a", upload, 1, 0, b"good")

    async def stalled() -> AsyncGenerator[bytes, None]:
        yield b"bad!" * 262_144  # a whole block: it is written before the next one is asked for
        await backend.finish_parts_async("a", upload, [first])
        yield b"worse"

    with pytest.raises(ObjectNotFoundError):
        await backend.put_part_async("a", upload, 2, 4, stalled())
    assert backend.get_content("a") == b"good"


async def test_part_in_memory_is_written_in_one_hop(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many blocks it has; one that is too long is refused before anything is written, a short one after."""
    hops: list[object] = []

    async def counted(function: Callable[[], object]) -> object:
        hops.append(function)
        return await run_blocking(function)

    upload = await backend.begin_parts_async("a")
    monkeypatch.setattr("litestar_filestore.backends.local.local_backend.run_blocking", counted)
    blocks = [bytes([number]) * (number * 100_000) for number in range(1, 30)]
    size = sum(map(len, blocks))
    part = await backend.put_part_async("a", upload, 1, 0, HeldBlocks(blocks), size=size)
    assert (len(hops), part.size) == (1, size)
    with pytest.raises(FileTooLargeError):
        await backend.put_part_async("a", upload, 2, size, HeldBlocks(blocks), size=size - 1)
    with pytest.raises(InvalidArgumentError):
        await backend.put_part_async("a", upload, 2, size, HeldBlocks(blocks[:-1]), size=size)
    assert len(hops) == 2
    await backend.finish_parts_async("a", upload, [part])
    assert backend.get_content("a") == b"".join(blocks)


async def test_finishing_waits_for_a_write_under_way(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is being written when another process finishes the object is written before it is published."""
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")

    with hidden(backend, tmp_path)[0].open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        waiting, flock = threading.Event(), fcntl.flock

        def lock(descriptor: int, operation: int) -> None:
            waiting.set()
            flock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", lock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.finish_parts_async, "a", upload, [part])
            await anyio.to_thread.run_sync(waiting.wait)
            assert not backend.exists("a")
            flock(file, fcntl.LOCK_UN)
    assert backend.get_content("a") == b"content"


@UNTIL
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "over old"])
async def test_killed_while_finishing(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, overwrite: bool
) -> None:
    """Whoever continues after a kill before or after publishing gets the object, once; late parts do not change it."""
    if overwrite:
        backend.put(b"old", key="a")
    upload = await backend.begin_parts_async("a", overwrite=overwrite)
    part = await backend.put_part_async("a", upload, 1, 0, b"content")

    def kill(_: Unfinished) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, step, kill)
        with pytest.raises(KilledError):
            await backend.finish_parts_async("a", upload, [part], overwrite=overwrite)
    if step == "publish":
        await backend.finish_parts_async("a", upload, [part], overwrite=overwrite)
    with pytest.raises(ObjectNotFoundError):
        await backend.put_part_async("a", upload, 2, 0, b"changed")
    with pytest.raises((ObjectNotFoundError, ObjectExistsError)):
        await backend.finish_parts_async("a", upload, [part], overwrite=overwrite)
    backend.abandon_parts("a", upload)
    assert backend.get_content("a") == b"content"
    assert hidden(backend, tmp_path) == []


async def test_cleaning_takes_what_nobody_continued_for_a_week(backend: LocalBackend, tmp_path: Path) -> None:
    """The age counts from the last part; a shorter one does not apply, a longer one does."""
    upload = await backend.begin_parts_async("a")
    await backend.put_part_async("a", upload, 1, 0, b"content")
    [file] = hidden(backend, tmp_path)
    week_ago = time.time() - PARTS_KEPT_SECONDS
    os.utime(file, (week_ago + 60, week_ago + 60))
    assert backend.clean(older_than=0) == 0
    os.utime(file, (week_ago - 60, week_ago - 60))
    assert backend.clean(older_than=2 * PARTS_KEPT_SECONDS) == 0
    await backend.put_part_async("a", upload, 2, 7, b"more")
    assert backend.clean(older_than=0) == 0
    os.utime(file, (week_ago - 60, week_ago - 60))
    assert backend.clean(older_than=0) == 1
    assert hidden(backend, tmp_path) == []


async def test_object_is_as_old_as_its_name(backend: LocalBackend, tmp_path: Path) -> None:
    """An upload of many days is not taken for an old object that the ledger does not know."""
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")
    os.utime(hidden(backend, tmp_path)[0], (0, 0))
    info = await backend.finish_parts_async("a", upload, [part])
    assert abs((info.last_modified or 0) - time.time()) < 60
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


async def test_part_that_was_lost(backend: LocalBackend, tmp_path: Path) -> None:
    """A file that is shorter than its parts, as after a disk was restored, makes no object."""
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")
    os.truncate(hidden(backend, tmp_path)[0], 3)
    with pytest.raises(ObjectChangedError):
        await backend.finish_parts_async("a", upload, [part])
    assert not backend.exists("a")
