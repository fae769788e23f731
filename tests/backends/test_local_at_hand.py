"""Reading local objects on the event loop: only what the system has in memory, and nothing that may not be read."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore import LocalBackend
from litestar_filestore.backends.local import tree
from litestar_filestore.core.types import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from litestar_filestore.core.driver import ObjectVersion

CONTENT = bytes(range(256)) * 16
KEY = "a/b/object"


def _says_what_is_cached(folder: Path) -> bool:
    descriptor = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, b"x")
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except (OSError, AttributeError):
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.fixture
async def backend(tmp_path: Path) -> LocalBackend:
    """A backend with one object, that has read it once and so knows its file system."""
    if not _says_what_is_cached(tmp_path):
        pytest.skip("this file system does not say which bytes are in memory")
    found = LocalBackend("local", tmp_path / "root", fsync=False)
    await found.put_async(CONTENT, key=KEY)
    assert await found.get_content_async(KEY) == CONTENT
    return found


def _opened(backend: LocalBackend, key: str = KEY) -> ObjectVersion:
    version = backend.version_at_hand(key)
    assert version is not None
    return version


async def test_what_is_in_memory_is_read_at_once(backend: LocalBackend) -> None:
    """An object is described and read like any other, in whole and in part."""
    info = backend.head(KEY)
    with closing(_opened(backend)) as version:
        assert (version.info.size, version.info.etag) == (info.size, info.etag)
        assert version.read_at_hand(0, len(CONTENT)) == CONTENT
        assert version.read_at_hand(10, 11) == CONTENT[10:11]
        assert version.read_at_hand(0, len(CONTENT) + 1) == b"", "the object is shorter"
        assert version.read_at_hand(0, BLOCK_BYTES + 1) == b"", "too much for the event loop"


async def test_a_store_is_not_read_at_once_before_its_file_system_is_known(tmp_path: Path) -> None:
    """A backend that has opened nothing yet does not know whether an open would ask a server."""
    backend = LocalBackend("local", tmp_path, fsync=False)
    backend.put(CONTENT, key=KEY)
    assert backend.version_at_hand(KEY) is None


async def test_what_is_not_in_memory_comes_from_a_thread(backend: LocalBackend, tmp_path: Path) -> None:
    """Bytes on the disk are not waited for on the event loop."""
    path = tmp_path / "root" / KEY
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    with closing(_opened(backend)) as version:
        assert version.read_at_hand(0, len(CONTENT)) in {b"", CONTENT}  # a quick disk may have them there already
        assert b"".join([block async for block in version.blocks(0, None)]) == CONTENT


@pytest.mark.parametrize("key", ["link", "folder/object", "fifo", "a", "a/b/missing", "a/b/object/below", "out/object"])
async def test_what_must_not_be_read_is_not_at_hand(backend: LocalBackend, tmp_path: Path, key: str) -> None:
    """Links in the place of an object or of a folder, what is no file, and what is missing get the usual answer."""
    root = tmp_path / "root"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "object").write_bytes(b"secret")
    (root / "link").symlink_to(root / KEY)
    (root / "folder").symlink_to(root / "a" / "b")
    (root / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "fifo")
    assert backend.version_at_hand(key) is None
    _opened(backend).close()  # the others are still at hand


@pytest.mark.parametrize("read", ["get_content_async", "head_async"])
async def test_reading_in_a_loop_lets_others_run(backend: LocalBackend, read: str) -> None:
    """A task that reads cached objects again and again keeps no other task waiting."""
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(20):
        await getattr(backend, read)(KEY)
    counting.cancel()
    assert others >= 20


async def test_a_version_stays_what_it_was(backend: LocalBackend) -> None:
    """An object that is replaced or deleted is read to its end as it was opened."""
    with closing(_opened(backend)) as version:
        backend.put(b"other", key=KEY, overwrite=True)
        backend.delete(KEY)
        assert version.read_at_hand(0, len(CONTENT)) == CONTENT
    assert backend.version_at_hand(KEY) is None


async def test_a_root_that_is_gone_is_not_at_hand(backend: LocalBackend, tmp_path: Path) -> None:
    """An unmounted disk is asked about in a thread, which says what is wrong."""
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    assert backend.version_at_hand(KEY) is None


async def test_kernels_without_the_call(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel or a sandbox that does not know the call is not asked again, and everything is read in threads."""
    monkeypatch.setattr(tree, "_OPENAT2", 9999)  # no system call has this number
    assert backend.version_at_hand(KEY) is None
    monkeypatch.undo()
    assert backend.version_at_hand(KEY) is None
    assert await backend.get_content_async(KEY) == CONTENT


async def test_large_blocks_share_a_memory(backend: LocalBackend) -> None:
    """Readers that do not go on hold at most eight large blocks; the others get theirs in small ones."""
    await backend.put_async(bytes(BLOCK_BYTES), key="large")
    readers = [_opened(backend, "large") for _ in range(9)]
    try:
        held = [len(each.read_at_hand(0, BLOCK_BYTES)) for each in readers]
        assert held == [BLOCK_BYTES] * 8 + [0]
        assert max([len(block) async for block in readers[8].blocks(0, None)]) < BLOCK_BYTES
        readers[0].close()
        assert len(readers[8].read_at_hand(0, BLOCK_BYTES)) == BLOCK_BYTES
    finally:
        for each in readers:
            each.close()


async def test_a_driver_that_reads_otherwise_is_asked(tmp_path: Path) -> None:
    """A backend that changes what is read, for example decrypts it, is never passed by."""

    class Reversed(LocalBackend):
        async def get_async(
            self, key: str, start: int = 0, end: int | None = None, **_: Any
        ) -> AsyncGenerator[bytes, None]:
            yield b"".join(self.get(key))[::-1][start:end]

    backend = Reversed("local", tmp_path, fsync=False)
    await backend.put_async(CONTENT, key=KEY)
    await LocalBackend.head_async(backend, KEY)
    assert backend.version_at_hand(KEY) is None
    assert await backend.open_version_async(KEY) is None
