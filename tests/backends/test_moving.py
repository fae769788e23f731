"""Objects that move from one store to another: what the application sees meanwhile, and what the mover does."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient

from litestar_filestore import (
    Capability,
    Driver,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MemoryBackend,
    MovingBackend,
    StorageBackend,
)
from litestar_filestore.backends.moving.mover import KnownFacts, MoveConfig, Mover
from litestar_filestore.backends.moving.moving_backend import MovingDriver
from litestar_filestore.core.sources import iter_blocks_async
from litestar_filestore.core.types import Block, ObjectInfo, Part, PutOptions
from litestar_filestore.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigurationError,
    ObjectExistsError,
    ObjectNotFoundError,
    UnsupportedOperationError,
)
from litestar_filestore.testing import Fault, FaultyBackend


class Move:
    """A folder, and a store in memory that keeps content types; a prefix in each."""

    def __init__(self, folder: Path) -> None:
        self.old: StorageBackend = LocalBackend("old", folder, prefix="a/b", fsync=False)
        self.new: StorageBackend = MemoryBackend("new", prefix="c")

    def backend(self, writes: Literal["target", "source"] = "target") -> MovingBackend:
        """Make the backend in the middle."""
        return MovingBackend("files", source=self.old, target=self.new, writes=writes)

    def mover(self, config: MoveConfig | None = None) -> Mover:
        """Make a mover."""
        return Mover(self.backend(), config or MoveConfig(retry_seconds=0.0))

    def keys(self) -> tuple[list[str], list[str]]:
        """Return the keys in both stores."""
        return sorted(info.key for info in self.old.list()), sorted(info.key for info in self.new.list())


@pytest.fixture
def move(tmp_path: Path) -> Move:
    """Two stores, empty."""
    return Move(tmp_path / "old")


# -- the backend; the definition of a driver runs on it as well


async def test_it_reads_from_both(move: Move) -> None:
    """What is not in the new store is read from the old one: whole, in ranges, its info, opened, copied."""
    move.old.put(b"0123456789", key="x")
    backend = move.backend()
    assert backend.get_content("x") == b"0123456789"
    assert b"".join(backend.get("x", 2, 5)) == b"234"
    assert b"".join([block async for block in backend.get_async("x", 8)]) == b"89"
    assert (backend.head("x").size, (await backend.head_async("x")).key) == (10, "x")
    assert await backend.open_version_async("x") is None  # one in memory is better read at once
    assert await backend.copy_async("x", "y") == "y"
    assert backend.copy("x", "z") == "z"
    assert move.keys() == (["x"], ["y", "z"])
    with pytest.raises(ObjectNotFoundError) as caught:
        backend.get_content("missing")
    assert (caught.value.backend, caught.value.key, caught.value.operation) == ("files", "missing", "get")


async def test_it_opens_versions(move: Move, tmp_path: Path) -> None:
    """A version is opened in the store that has the object; what is read of it stays the same when it is copied."""
    move.new = LocalBackend("new", tmp_path / "new", fsync=False)
    move.old.put(b"0123456789", key="x")
    backend = move.backend()
    assert backend.version_at_hand("x") is None
    version = await backend.open_version_async("x")
    assert version is not None
    await Mover(backend).run()
    assert b"".join([block async for block in backend.get_async("x", 4, version=version)]) == b"456789"
    version.close()
    copied = backend.version_at_hand("x") or await backend.open_version_async("x")
    assert copied is not None
    assert copied.info.size == 10
    copied.close()


async def test_it_writes_to_one(move: Move) -> None:
    """New objects go to the target, or on the way back to the source; a key that the other store has is taken."""
    move.old.put(b"old", key="x")
    backend = move.backend()
    backend.put(b"new", key="y")
    await move.backend(writes="source").put_async(b"new", key="z")
    assert move.keys() == (["x", "z"], ["y"])
    with pytest.raises(ObjectExistsError):
        backend.put(b"other", key="x")
    with pytest.raises(ObjectExistsError):
        await backend.put_async(b"other", key="x")
    await backend.put_async(b"other", key="x", overwrite=True)
    assert backend.get_content("x") == b"other"
    assert sorted(info.key for info in backend.list()) == ["x", "y", "z"]
    assert sorted([info.key async for info in backend.list_async()]) == ["x", "y", "z"]


async def test_it_deletes_in_both(move: Move) -> None:
    """A delete reaches both stores, also where one of them fails; then it fails, and can be tried again."""
    for key in ("x", "y"):
        move.old.put(b"same", key=key)
        move.new.put(b"same", key=key)
    backend = move.backend()
    backend.delete("x")
    await backend.delete_async(["y", "missing"])
    assert move.keys() == ([], [])
    move.new.put(b"same", key="x")
    move.old = FaultyBackend(move.old, [Fault("delete", BackendUnavailableError("down"))])
    with pytest.raises(BackendUnavailableError):
        move.backend().delete("x")
    assert move.keys() == ([], [])


async def test_parts_stay_where_they_were_begun(move: Move) -> None:
    """An upload of before the move ends in the source, one of the move in the target, and each can be given up."""
    before = await move.old.begin_parts_async("x")
    backend = move.backend()
    part = await backend.put_part_async("x", before, 1, 0, b"before")
    meanwhile = await backend.begin_parts_async("y")
    parts = [await backend.put_part_async("y", meanwhile, 1, 0, b"mean"), Part(2, 4, 5)]
    back = move.backend(writes="source")  # also by a process that was told to go back
    parts[1] = await back.put_part_async("y", meanwhile, 2, 4, b"while")
    await backend.finish_parts_async("x", before, [part])
    await back.finish_parts_async("y", meanwhile, parts)
    assert move.keys() == (["x"], ["y"])
    assert (backend.get_content("x"), backend.get_content("y")) == (b"before", b"meanwhile")
    given_up = await backend.begin_parts_async("z")
    await back.abandon_parts_async("z", given_up)
    with pytest.raises(ObjectNotFoundError):
        await backend.put_part_async("z", given_up, 1, 0, b"late")


def test_abilities(move: Move) -> None:
    """It claims what all objects can do: a link of the store needs both stores, a put needs only one."""
    assert Capability.METADATA not in move.backend().capabilities
    assert Capability.PARTS in move.backend().capabilities
    two = MovingBackend("files", source=move.old, target=LocalBackend("other", Path("/tmp/other")))
    assert Capability.LOCAL_PATH in two.capabilities
    move.old.put(b"here", key="x")
    assert two.local_path("x").read_bytes() == b"here"
    with pytest.raises(UnsupportedOperationError):
        two.sign("x")


def test_every_operation_has_its_place() -> None:
    """Each operation of a driver says which of the two stores it goes to."""
    operations = {name for name, each in vars(Driver).items() if callable(each) and not name.startswith("_")}
    assert operations - vars(MovingDriver).keys() == set()


def test_what_cannot_be_moved(move: Move) -> None:
    """A class that changes what is stored, one key for two stores, and a prefix are mistakes of the set-up."""

    class Sealed(MemoryBackend):
        def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            return reversed([*super().get(key, start, end)])

    with pytest.raises(ConfigurationError, match=r"Sealed overrides get\(\)"):
        MovingBackend("files", source=Sealed("old"), target=move.new)
    with pytest.raises(ConfigurationError, match="same key"):
        MovingBackend("files", source=move.old, target=MemoryBackend("old"))
    with pytest.raises(ConfigurationError, match="no prefix"):
        MovingBackend("files", source=move.old, target=move.new, prefix="x")


async def test_downloads_do_not_notice(move: Move) -> None:
    """Bodies, ranges and validators of a download are the same before and after its object has moved."""
    backend = move.backend(writes="source")
    file = FileObject("files", "a.txt", content=b"0123456789")

    @get("/file")
    async def read() -> FileDownload:
        return FileDownload(file)

    config = FilestoreConfig([backend], ledger=None)
    async with AsyncTestClient(Litestar([read], plugins=[FilestorePlugin(config)], openapi_config=None)) as client:
        await file.save_async()
        answers: list[tuple[object, ...]] = []
        for _ in range(2):
            whole = await client.get("/file")
            tag = whole.headers["etag"]
            part = await client.get("/file", headers={"Range": "bytes=2-4", "If-Range": tag})
            same = await client.get("/file", headers={"If-None-Match": tag})
            answers.append((whole.text, tag, whole.headers["last-modified"], part.text, same.status_code))
            await Mover(move.backend()).run()
            move.old.delete(file.path)  # from here on, it can come from the new store only
    assert answers[0] == answers[1]
    assert answers[0][3:] == ("234", 304)


# -- the mover


async def test_a_move(move: Move) -> None:
    """All objects arrive, with the content types and metadata that rows know; the old ones stay; a second run rests."""
    contents = {f"{number:02}/x.txt": random.Random(number).randbytes(number * 100) for number in range(20)}
    for key, content in contents.items():
        move.old.put(content, key=key)
    asked: list[str] = []

    async def facts(keys: Sequence[str]) -> dict[str, KnownFacts]:
        asked.extend(keys)
        return {"03/x.txt": KnownFacts("text/x-special", {"owner": "alice"})}

    report = await move.mover(MoveConfig(facts=facts)).run()
    assert (report.objects, report.moved, report.copied, report.left) == (20, 20, 20, 0)
    assert report.is_complete
    assert report.bytes == sum(map(len, contents.values()))
    assert sorted(asked) == sorted(contents)
    assert {info.key: b"".join(move.new.get(info.key)) for info in move.new.list()} == contents
    assert move.keys()[0] == sorted(contents)
    special, plain = move.new.head("03/x.txt"), move.new.head("04/x.txt")
    assert (special.content_type, special.metadata) == ("text/x-special", {"owner": "alice"})
    assert plain.content_type == "text/plain"
    again = await move.mover().run()
    assert (again.moved, again.copied, again.verified, again.bytes) == (20, 0, 0, 0)
    assert (await move.mover().status()).is_complete


async def test_a_move_back(move: Move) -> None:
    """On the way back, only what is new is copied, and content types that a store keeps are taken from there."""
    move.old.put(b"old", key="x")
    await move.mover().run()
    move.backend().put(b"new", key="y", content_type="image/png")
    back = Mover(move.backend(writes="source"))
    assert (await back.status()).left == 2  # nobody has noted in the old store that x is the same
    report = await back.run()
    assert (report.copied, report.verified, report.left) == (1, 1, 0)
    assert move.keys() == (["x", "y"], ["x", "y"])


async def test_what_is_in_both_is_compared(move: Move) -> None:
    """A copy that nobody has noted is read; if it is another one, it is named, stays, and the move is not complete."""
    for key in ("same", "other", "longer"):
        move.old.put(b"content", key=key)
    move.new.put(b"content", key="same")
    move.new.put(b"CONTENT", key="other")
    move.new.put(b"content and more", key="longer")
    report = await move.mover().run()
    assert (report.verified, report.copied, report.left) == (1, 0, 2)
    assert set(report.failures) == {"other", "longer"}
    assert "different content" in report.failures["other"]
    assert not report.is_complete
    assert b"".join(move.new.get("other")) == b"CONTENT"


async def test_what_the_application_replaced_stays(move: Move) -> None:
    """An object that was moved and then replaced in the new store is not taken for a bad copy."""
    move.old.put(b"first", key="x")
    await move.mover().run()
    move.backend().put(b"second one", key="x", overwrite=True)
    report = await move.mover().run()
    assert (report.is_complete, report.copied) == (True, 0)
    assert move.backend().get_content("x") == b"second one"


async def test_a_damaged_copy_is_removed(move: Move) -> None:
    """Each copy is read back; one that came out different is removed, so that reads find the original."""
    move.old.put(b"content", key="x")
    move.new = FaultyBackend(move.new, [Fault("get", after_bytes=3, call=2)])  # the first one looks for notes
    report = await move.mover().run()
    assert "gives back other bytes" in report.failures["x"]
    assert move.keys() == (["x"], [])
    assert (await move.mover().run()).is_complete


async def test_a_damaged_original_is_named(move: Move) -> None:
    """An object that is not what its row says is not passed off as moved."""
    move.old.put(b"rotten", key="x")

    async def facts(keys: Sequence[str]) -> dict[str, KnownFacts]:
        return {"x": KnownFacts(checksum="sha256:" + "0" * 64)}

    report = await move.mover(MoveConfig(facts=facts)).run()
    assert "restore the object from a backup" in report.failures["x"]
    assert move.keys() == (["x"], [])


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
async def test_a_store_that_is_away_for_a_moment(move: Move, after_effect: bool) -> None:  # noqa: FBT001
    """A put is tried again, also if only its answer was lost."""
    move.old.put(b"content", key="x")
    move.new = FaultyBackend(move.new, [Fault("put", BackendUnavailableError("down"), after_effect=after_effect)])
    report = await move.mover().run()
    assert (report.is_complete, report.copied + report.verified) == (True, 1)


async def test_a_store_that_refuses(move: Move) -> None:
    """What would happen to every object ends the run."""
    move.old.put(b"content", key="x")
    move.new = FaultyBackend(move.new, [Fault("put", AccessDeniedError("no"), times=None)])
    with pytest.raises(AccessDeniedError):
        await move.mover().run()


async def test_a_delete_while_it_is_copied(move: Move) -> None:
    """An object that is deleted between the read and the put does not come back to life in the new store."""
    move.old.put(b"content", key="x")
    backend = move.backend()

    inner: Any = move.new.storage_driver
    put = inner.put_async

    async def put_after_delete(path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        taken = [bytes(block) async for block in blocks]
        await backend.delete_async("x")
        stored: ObjectInfo = await put(path, iter_blocks_async(b"".join(taken)), options)
        return stored

    inner.put_async = put_after_delete
    report = await Mover(backend).run()
    assert (report.gone, report.left, report.is_complete) == (1, 0, True)
    assert move.keys() == ([], [])


async def test_unfinished_uploads_are_not_moved(move: Move) -> None:
    """The parts of an upload stay; the move is complete only when the upload is."""
    move.old = MemoryBackend("old")
    move.old.storage_driver.capabilities &= ~Capability.PARTS  # so that the parts are objects
    upload = await move.old.begin_parts_async("x")
    part = await move.old.put_part_async("x", upload, 1, 0, b"part")
    report = await move.mover().run()
    assert (report.copied, report.unfinished > 0, report.is_complete) == (0, True, False)
    await move.backend().finish_parts_async("x", upload, [part])
    report = await move.mover().run()
    assert (report.copied, report.is_complete) == (1, True)


async def test_notes_are_pages(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted is read again page by page, and two movers at the same time write pages of their own."""
    monkeypatch.setattr("litestar_filestore.backends.moving.mover._PAGE", 3)
    for number in range(10):
        move.old.put(b"%d" % number, key=f"k{number}")
    first, second = move.mover(), move.mover()
    await first.run()
    await second.run()
    status = await move.mover().status()
    assert (status.moved, status.left) == (10, 0)
    move.new.delete("k3")  # by hand, in the new store only: the note is not believed
    assert (await move.mover().status()).left == 1
    assert (await move.mover().run()).copied == 1


async def test_the_rate_is_kept(move: Move) -> None:
    """A limit of bytes for each second holds for all objects together."""
    for number in range(4):
        move.old.put(os.urandom(1000), key=f"k{number}")
    began = time.monotonic()
    await move.mover(MoveConfig(max_bytes_per_second=40_000, jobs=4)).run()
    assert time.monotonic() - began >= 0.1
