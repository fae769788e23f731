"""Content that is stored before there is a row, many uploads to a transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import BackendUnavailableError, LedgerMissingError, LinkLostError
from litestar_filestore.orm.ledger import LEASE_SECONDS, Facts, ObjectKey
from litestar_filestore.orm.ledger_table import State
from litestar_filestore.orm.owner import owner_of_new_objects
from litestar_filestore.orm.staging import staging_engine
from litestar_filestore.orm.sweep import SweepConfig
from litestar_filestore.orm.uploads import Intents, store_async
from litestar_filestore.testing.faults import Fault, FaultyDriver
from tests.ledger.models import BACKEND, Document, content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def engine(world: World, url: str) -> AsyncIterator[AsyncEngine]:
    """The database of `world` behind an async driver."""
    engine = create_async_engine(async_url(url))
    prepare(engine.sync_engine)
    yield engine
    await engine.dispose()


async def upload(engine: AsyncEngine, world: World, tag: str) -> FileObject:
    """Store one file."""
    backend = storages.get_backend(BACKEND)
    return await store_async(engine, LEDGER, backend, content_of(tag), NewFile(filename=f"{tag}.txt"))


def commits_beside(engine: AsyncEngine) -> list[sa.Connection]:
    """Return a list that grows with each commit of the ledger's own transactions."""
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    seen: list[sa.Connection] = []
    event.listen(beside, "commit", seen.append)
    return seen


async def test_upload_and_row(world: World, engine: AsyncEngine) -> None:
    """A stored file is staged, and linked by the row that takes it."""
    file = await upload(engine, world, "new")
    assert list(world.snapshot().states.values()) == [State.STAGED]
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=file))
        await session.commit()
    assert world.leftovers() == []
    assert world.contents() == {1: ("new", ())}


async def test_upload_without_row(world: World, engine: AsyncEngine) -> None:
    """A file that no row takes is kept for the lease and swept after it."""
    await upload(engine, world, "new")
    world.pass_time(LEASE_SECONDS - 60)
    assert world.sweep().deleted == 0
    world.pass_time(61)
    assert world.sweep().deleted == 1


async def test_concurrent_uploads_share_transactions(world: World, engine: AsyncEngine) -> None:
    """Many uploads at once need far fewer transactions than two each."""
    commits = commits_beside(engine)
    uploads = 40
    files = await asyncio.gather(*(upload(engine, world, f"{number:02}") for number in range(uploads)))
    assert len({file.path for file in files}) == uploads
    assert len(world.snapshot().states) == uploads
    assert len(commits) < uploads


async def test_intents_that_come_together(world: World, engine: AsyncEngine) -> None:
    """The first goes at once; all that come while its transaction is on its way share the next one."""
    commits = commits_beside(engine)
    intents = Intents(engine, LEDGER)
    await asyncio.gather(*(intents.stage(ObjectKey(BACKEND, str(number))) for number in range(20)))
    assert len(world.snapshot().states) == 20
    assert len(commits) == 2


async def test_one_failure_does_not_spoil_the_others(world: World, engine: AsyncEngine) -> None:
    """An upload that fails in a shared transaction fails alone."""
    intents = Intents(engine, LEDGER)
    keys = [ObjectKey(BACKEND, str(number)) for number in range(5)]
    await asyncio.gather(*map(intents.stage, keys))
    with world.engine.begin() as connection:
        connection.execute(sa.update(LEDGER).where(LEDGER.c.key == "3").values(state=State.DOOMED))
    results = await asyncio.gather(*(intents.record(key, Facts(7, None)) for key in keys), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [LinkLostError, type(None)]
    with world.engine.connect() as connection:
        sizes = connection.execute(sa.select(LEDGER.c.key, LEDGER.c.size)).all()
    assert dict(map(tuple, sizes)) == {"0": 7, "1": 7, "2": 7, "3": None, "4": 7}


async def test_cancelled_upload(world: World, engine: AsyncEngine) -> None:
    """An upload that is cancelled while it waits takes nothing from the others, and gives its connection back."""
    intents = Intents(engine, LEDGER)
    tasks = [asyncio.create_task(intents.stage(ObjectKey(BACKEND, str(number)))) for number in range(6)]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True] * 3 + [False] * 3
    assert {"3", "4", "5"} <= {key.key for key in world.snapshot().states}
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    assert isinstance(beside.pool, sa.QueuePool | sa.AsyncAdaptedQueuePool)
    assert beside.pool.checkedout() == 0


async def test_renewed_lease(world: World, engine: AsyncEngine) -> None:
    """A renewed lease counts from the renewal."""
    intents = Intents(engine, LEDGER)
    key = ObjectKey(BACKEND, "long")
    await intents.stage(key)
    world.pass_time(LEASE_SECONDS - 60)
    await intents.renew(key)
    world.pass_time(LEASE_SECONDS - 60)
    assert world.sweep().deleted == 0


async def test_lease_begins_anew_when_the_content_is_there(world: World, engine: AsyncEngine) -> None:
    """The row has the whole lease from the end of the upload on, however long that took."""
    intents = Intents(engine, LEDGER)
    key = ObjectKey(BACKEND, "long")
    await intents.stage(key)
    world.pass_time(LEASE_SECONDS - 60)
    await intents.record(key, Facts(1, None))
    world.pass_time(LEASE_SECONDS - 60)
    assert world.sweep().deleted == 0


async def test_swept_while_it_was_written(world: World, engine: AsyncEngine) -> None:
    """An upload that was given up fails, and its bytes are deleted although they came after the sweep."""

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.to_thread(world.sweep, SweepConfig(staged_grace_seconds=-LEASE_SECONDS))
        yield b"last"

    with pytest.raises(LinkLostError, match="given up before it was complete"):
        await store_async(engine, LEDGER, world.backend, slowly(), NewFile(filename="new.txt"))
    assert len(world.objects()) == 1
    world.recover()
    assert world.objects() == set()


@pytest.mark.parametrize("after_effect", [False, True])
async def test_storage_failure(world: World, engine: AsyncEngine, after_effect: bool) -> None:  # noqa: FBT001
    """A store that fails is reported, and what it may have kept is swept."""
    fault = Fault("put", BackendUnavailableError("down"), after_effect=after_effect)
    storages.register_backend(StorageBackend(BACKEND, driver=FaultyDriver(world.backend.storage_driver, [fault])))
    with pytest.raises(BackendUnavailableError, match="down"):
        await upload(engine, world, "new")
    assert len(world.objects()) == int(after_effect)


async def test_owner(world: World, engine: AsyncEngine) -> None:
    """The entry carries the owner that was set in the task, although another task may write it."""

    async def upload_for(owner: str) -> str:
        owner_of_new_objects.set(owner)
        return (await upload(engine, world, owner)).path

    keys = await asyncio.gather(*map(upload_for, ("alice", "bob")))
    with world.engine.connect() as connection:
        owners = dict(map(tuple, connection.execute(sa.select(LEDGER.c.key, LEDGER.c.owner))))
    assert owners == dict(zip(keys, ("alice", "bob"), strict=True))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_upload_while_a_session_writes(world: World, engine: AsyncEngine) -> None:
    """On SQLite an upload waits for a session that holds the write lock, longer than a session would wait for it."""
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    with Session(world.engine) as writer:
        writer.add(Document(id=1))
        writer.flush()
        refusals: list[sa.engine.ExceptionContext] = []

        def refused(context: sa.engine.ExceptionContext) -> None:
            refusals.append(context)
            if len(refusals) == 2:
                writer.commit()

        event.listen(beside, "handle_error", refused)
        await upload(engine, world, "new")
    assert len(refusals) == 2


async def test_missing_table(world: World, engine: AsyncEngine) -> None:
    """Without the ledger's table an upload fails before a byte is written, and says what to create."""
    LEDGER.drop(world.engine)
    try:
        with pytest.raises(LedgerMissingError, match="create_all"):
            await upload(engine, world, "new")
        assert world.objects() == set()
    finally:
        LEDGER.create(world.engine)
