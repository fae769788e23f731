"""A limit on what one owner stores: asked before the first byte and when the size is known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import QuotaExceededError
from litestar_filestore.ledger.intents import intents_of, store_async
from litestar_filestore.ledger.ledger import Facts, Ledger, ObjectKey, Usage
from litestar_filestore.ledger.quota import enforce_quota, owner_of_new_objects
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import FaultyDriver
from tests.ledger.models import BACKEND, Document, a_file, content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, LONG, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SIZE = len(content_of("one"))


class Quota:
    """A limit in bytes and in objects, and what it was asked."""

    def __init__(self, max_bytes: int = 10**9, max_objects: int = 10**9) -> None:
        self.max_bytes = max_bytes
        self.max_objects = max_objects
        self.asked: list[tuple[str, Usage]] = []

    def __call__(self, owner: str, usage: Usage) -> None:
        """Refuse what is beyond the limit."""
        self.asked.append((owner, usage))
        if usage.bytes > self.max_bytes or usage.objects > self.max_objects:
            raise QuotaExceededError(f"{owner} has no room left")


@pytest.fixture
def quota() -> Iterator[Quota]:
    """A quota without limits for now, in force during the test."""
    quota = Quota()
    end = enforce_quota(LEDGER, quota)
    yield quota
    end()


@pytest.fixture
def alice() -> Iterator[None]:
    """New objects belong to alice."""
    token = owner_of_new_objects.set("alice")
    yield
    owner_of_new_objects.reset(token)


@pytest.fixture
async def engine(world: World, url: str) -> AsyncIterator[AsyncEngine]:
    """The database of `world` behind an async driver."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def driver(world: World) -> FaultyDriver:
    """The driver of the backend, which notes its calls."""
    driver = FaultyDriver(world.backend.storage_driver)
    storages.register_backend(StorageBackend(BACKEND, driver=driver))
    return driver


async def upload(engine: AsyncEngine, tag: str, owner: str | None = "alice") -> FileObject:
    """Store one file for an owner."""
    owner_of_new_objects.set(owner)
    return await store_async(engine, LEDGER, storages[BACKEND], content_of(tag), NewFile(filename=f"{tag}.txt"))


def usage(world: World, owner: str = "alice") -> Usage:
    """Return what an owner's objects take up."""
    with world.engine.connect() as connection:
        return Ledger(LEDGER).usage(connection, owner)


def add(world: World, number: int, tag: str) -> None:
    """Add a row with a new file."""
    with Session(world.engine) as session:
        session.add(Document(id=number, file=a_file(tag)))
        session.commit()


async def test_upload_is_asked_about_twice(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """First the new object counts, then its bytes do as well; other owners' never do."""
    await upload(engine, "bob", "bob")
    await upload(engine, "one")
    await upload(engine, "two")
    assert quota.asked[2:] == [
        ("alice", Usage(1, 0)),
        ("alice", Usage(1, SIZE)),
        ("alice", Usage(2, SIZE)),
        ("alice", Usage(2, 2 * SIZE)),
    ]


async def test_upload_is_refused_before_its_first_byte(
    world: World, engine: AsyncEngine, quota: Quota, driver: FaultyDriver
) -> None:
    """An owner without room for one more object costs the store nothing, and the ledger neither."""
    quota.max_objects = 0
    with pytest.raises(QuotaExceededError, match="no room left"):
        await upload(engine, "one")
    assert driver.calls == []
    assert world.snapshot().states == {}


async def test_upload_is_refused_for_its_size(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """An upload that turns out too large is given up at once, and counts until it is deleted."""
    quota.max_bytes = SIZE
    await upload(engine, "one")
    with pytest.raises(QuotaExceededError):
        await upload(engine, "two")
    assert sorted(world.snapshot().states.values()) == [State.DOOMED, State.STAGED]
    assert usage(world) == Usage(2, 2 * SIZE, 1, SIZE)
    assert world.sweep().deleted == 1
    assert usage(world) == Usage(1, SIZE)


async def test_refusal_is_the_owner_s_only(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """Uploads of others that share the transaction of a refused one go on."""
    quota.max_objects = 1
    await upload(engine, "first")
    results = await asyncio.gather(
        *(upload(engine, owner, owner) for owner in ("bob", "alice", "carol")), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["FileObject", "QuotaExceededError", "FileObject"]


async def test_upload_without_owner(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """Objects without an owner are nobody's, and nobody is asked."""
    await store_async(engine, LEDGER, world.backend, content_of("one"), NewFile(filename="one.txt"))
    assert quota.asked == []


@pytest.mark.usefixtures("alice")
def test_row_is_refused_before_its_first_byte(world: World, quota: Quota, driver: FaultyDriver) -> None:
    """A session whose owner has no room left stores and writes nothing."""
    add(world, 1, "one")
    puts = len(driver.calls)
    quota.max_objects = 1
    with pytest.raises(QuotaExceededError):
        add(world, 2, "two")
    assert len(driver.calls) == puts
    assert list(world.contents()) == [1]


@pytest.mark.usefixtures("alice")
def test_row_is_refused_for_its_size(world: World, quota: Quota) -> None:
    """A file that turns out too large fails the flush; when the other has given way to it, it fits."""
    quota.max_bytes = SIZE
    add(world, 1, "one")
    with pytest.raises(QuotaExceededError):
        add(world, 2, "two")
    with Session(world.engine) as session:
        session.get_one(Document, 1).file = None
        session.commit()
    world.recover()
    with Session(world.engine) as session:
        session.get_one(Document, 1).file = a_file("two")
        session.commit()
    assert world.contents() == {1: ("two", ())}


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_row_without_intent(world: World, quota: Quota) -> None:
    """Content that could not be staged, as the session held SQLite's write lock, has an owner and a limit too."""
    quota.max_bytes = SIZE
    with Session(world.engine) as session:
        session.add(Document(id=1))
        session.flush()
        session.add(Document(id=2, file=a_file("one")))
        session.flush()
        session.add(Document(id=3, file=a_file("two")))
        with pytest.raises(QuotaExceededError):
            session.commit()
    assert world.contents() == {}
    assert [asked.bytes for _, asked in quota.asked] == [SIZE, 2 * SIZE]


@pytest.mark.usefixtures("alice")
def test_delete_and_put_in_a_loop(world: World, quota: Quota) -> None:
    """What its row gave up counts as long as it lies in the store, so that a loop stores no more than the limit."""
    quota.max_bytes = 3 * SIZE
    keep = SweepConfig(keep_deleted_for_seconds=10 * LONG)
    for number in range(1, 4):
        add(world, number, "one")
        with Session(world.engine) as session:
            session.delete(session.get_one(Document, number))
            session.commit()
        assert world.sweep(keep).deleted == 0
    with pytest.raises(QuotaExceededError):
        add(world, 4, "one")
    assert quota.asked[-1][1] == Usage(4, 4 * SIZE, 3, 3 * SIZE)
    world.pass_time()
    assert world.sweep().deleted == 4
    add(world, 5, "one")
    assert usage(world) == Usage(1, SIZE)


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("work", ["replace", "clear", "bulk"])
def test_shared_and_given_up_objects_count(world: World, work: str) -> None:
    """Whatever a row does with its file, its owner's usage ends with the object."""
    add(world, 1, "one")
    with Session(world.engine) as session:
        if work == "bulk":
            session.execute(sa.delete(Document))
        else:
            session.get_one(Document, 1).file = a_file("two") if work == "replace" else None
        session.commit()
    new = int(work == "replace")
    assert usage(world) == Usage(1 + new, (1 + new) * SIZE, 1, SIZE)
    world.recover()
    assert usage(world) == Usage(new, new * SIZE)


async def take(engine: AsyncEngine, file: FileObject, owner: str | None) -> None:
    """Put a stored file into a row, as another process does that has only read a reference."""
    owner_of_new_objects.set(owner)
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=FileObject.from_dict(file.to_dict())))
        await session.commit()


async def test_row_takes_an_object_of_nobody(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """It becomes the property of whose request takes it, who is asked about it."""
    file = await upload(engine, "one", None)
    quota.max_bytes = SIZE - 1
    with pytest.raises(QuotaExceededError):
        await asyncio.create_task(take(engine, file, "alice"))
    assert usage(world) == Usage(0, 0)
    quota.max_bytes = SIZE
    await asyncio.create_task(take(engine, file, "alice"))
    assert usage(world) == Usage(1, SIZE)


async def test_row_takes_an_object_of_another(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """An object stays the property of who has brought it."""
    file = await upload(engine, "one", "bob")
    await asyncio.create_task(take(engine, file, "alice"))
    assert (usage(world, "bob"), usage(world)) == (Usage(1, SIZE), Usage(0, 0))


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("way", ["save", "copy"])
def test_file_stored_by_hand(world: World, quota: Quota, way: str) -> None:
    """What the program has saved or copied itself is asked about when a row takes it, and has an owner too."""
    add(world, 1, "one")
    quota.max_bytes = SIZE
    with Session(world.engine) as session:
        first = session.get_one(Document, 1).file
        assert first is not None
        second = first.copy() if way == "copy" else a_file("two").save()
        session.add(Document(id=2, file=second))
        with pytest.raises(QuotaExceededError):
            session.commit()
    assert usage(world).bytes <= 2 * SIZE
    quota.max_bytes = 2 * SIZE
    world.recover()
    with Session(world.engine) as session:
        session.add(Document(id=3, file=a_file("six").save()))
        session.commit()
    assert usage(world) == Usage(2, 2 * SIZE)


async def test_kept_object(world: World, engine: AsyncEngine, quota: Quota) -> None:
    """What a program keeps without a row is the property of who brought it, or else of whose request keeps it."""
    nobodys, bobs = await upload(engine, "one", None), await upload(engine, "two", "bob")
    owner_of_new_objects.set("alice")
    for file in (nobodys, bobs):
        await intents_of(engine, LEDGER).keep(ObjectKey(BACKEND, file.path), Facts(file.size, None))
    assert (usage(world), usage(world, "bob")) == (Usage(1, SIZE), Usage(1, SIZE))
    await intents_of(engine, LEDGER).abandon([ObjectKey(BACKEND, each.path) for each in (nobodys, bobs)], [State.KEPT])


async def test_own_error(world: World, engine: AsyncEngine) -> None:
    """A check may raise whatever its application wants to see."""

    def refuse(_owner: str, _usage: Usage) -> None:
        raise PermissionError("pay first")

    end = enforce_quota(LEDGER, refuse)
    try:
        with pytest.raises(PermissionError, match="pay first"):
            await upload(engine, "one")
    finally:
        end()
    await upload(engine, "one")
