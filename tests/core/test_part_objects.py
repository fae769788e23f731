"""Objects in parts on stores that do not join parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from litestar_filestore.backends.memory import MemoryBackend, MemoryDriver
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.part_objects import unfinished_key
from litestar_filestore.core.types import Capability, Part
from litestar_filestore.errors import (
    BackendUnavailableError,
    InvalidArgumentError,
    InvalidKeyError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from litestar_filestore.testing import Fault, FaultyBackend


class PlainDriver(MemoryDriver):
    """A store that does not join parts."""

    capabilities = MemoryDriver.capabilities & ~Capability.PARTS


def plain(*plan: Fault) -> FaultyBackend:
    """Make a backend that has to join parts itself."""
    return FaultyBackend(StorageBackend("documents", driver=PlainDriver(), prefix="folder"), plan)


def names(backend: StorageBackend) -> list[str]:
    """List the keys."""
    return sorted(info.key for info in backend.list())


async def test_parts_are_listed_beside_the_key() -> None:
    """What listings show of an unfinished object says which key it belongs to."""
    backend = plain()
    upload = await backend.begin_parts_async("a/b.pdf")
    part = await backend.put_part_async("a/b.pdf", upload, 3, 0, b"content")
    assert names(backend) == [f"a/b.pdf.parts/{upload}/{part.receipt}", f"a/b.pdf.parts/{upload}/begun"]
    assert [unfinished_key(name) for name in names(backend)] == ["a/b.pdf"] * 2


@pytest.mark.parametrize("key", ["a", "a.parts/b/1", f"a.parts/{'0' * 32}/x", f".parts/{'0' * 32}/begun"])
def test_other_keys_are_no_parts(key: str) -> None:
    """A key that only looks alike belongs to nothing else."""
    assert unfinished_key(key) is None


async def test_part_that_arrives_after_the_end() -> None:
    """A part that was under way when the object was given up is removed by the one who put it."""
    backend = plain()
    upload = await backend.begin_parts_async("a")

    def content() -> Iterator[bytes]:
        yield b"content"
        backend.abandon_parts("a", upload)

    with pytest.raises(ObjectNotFoundError):
        await backend.put_part_async("a", upload, 1, 0, content())
    assert names(backend) == []


@pytest.mark.parametrize("call", [1, 2], ids=["joined", "parts removed"])
async def test_killed_while_finishing(call: int) -> None:
    """Whatever step a failure hits, the object is there or the parts are, and somebody else can go on."""
    backend = plain()
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")
    backend.faulty.plan.append(Fault("delete", BackendUnavailableError("down"), call=call))
    with pytest.raises(BackendUnavailableError):
        await backend.finish_parts_async("a", upload, [part])
    assert backend.get_content("a") == b"content"
    with pytest.raises((FileExistsError, FileNotFoundError)):
        await backend.finish_parts_async("a", upload, [part])
    await backend.abandon_parts_async("a", upload)
    assert names(backend) == ["a"]


async def test_part_that_changed() -> None:
    """A part that is gone or has another size than its receipt says makes no object, and nothing is lost."""
    backend = plain()
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")
    with pytest.raises(ObjectChangedError):
        await backend.finish_parts_async("a", upload, [Part(1, 0, 8, part.receipt)])
    backend.delete(f"a.parts/{upload}/{part.receipt}")
    with pytest.raises(ObjectChangedError) as caught:
        await backend.finish_parts_async("a", upload, [part])
    assert caught.value.operation == "finish_parts"
    assert not backend.exists("a")


async def test_outage_is_no_missing_object() -> None:
    """A store that cannot be reached does not make the client begin again."""
    backend = plain(Fault("head", BackendUnavailableError("down")))
    upload = await backend.begin_parts_async("a")
    with pytest.raises(BackendUnavailableError):
        await backend.put_part_async("a", upload, 1, 0, b"content")


async def test_key_without_room_for_parts() -> None:
    """A key that is too long to have anything beside it is refused before anything is stored."""
    backend = plain()
    with pytest.raises(InvalidKeyError):
        await backend.begin_parts_async("a" * 255)
    assert names(backend) == []


async def test_limit_of_the_backend() -> None:
    """Parts that together are larger than the backend allows are refused."""
    backend = MemoryBackend("documents", max_bytes=10)
    upload = await backend.begin_parts_async("a")
    parts = [await backend.put_part_async("a", upload, number, 6 * number - 6, b"123456") for number in (1, 2)]
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        await backend.finish_parts_async("a", upload, parts)
    with pytest.raises(InvalidArgumentError):
        await backend.put_part_async("a", upload, 1, -1, b"x")
