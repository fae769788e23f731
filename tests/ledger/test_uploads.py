"""Content that is stored before there is a row, many uploads to a transaction."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.core.sources import LiveSource
from litestar_filestore.errors import (
    BackendUnavailableError,
    FileRejectedError,
    LedgerMissingError,
    LinkLostError,
    ObjectExistsError,
    QuotaExceededError,
)
from litestar_filestore.ledger.intents import Intents, store_async
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Facts, Ledger, ObjectKey, Usage
from litestar_filestore.ledger.places import Place
from litestar_filestore.ledger.quota import enforce_quota, owner_of_new_objects
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import Fault, FaultyDriver
from litestar_filestore.uploads.storing import LedgerStorer
from tests.ledger.models import BACKEND, Document, content_of
from tests.ledger.places import async_url, prepare
from tests.ledger.world import LEDGER, World
from tests.servers.chaos import ChaosProxy, LostAnswer

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


def commits_beside(engine: AsyncEngine) -> list[object]:
    """Return a list that grows with each commit of the ledger's own transactions."""
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    seen: list[object] = []
    event.listen(beside, "commit", seen.append)
    event.listen(beside.pool, "connect", partial(_watch_line, seen))
    return seen


def _watch_line(seen: list[object], connection: Any, _record: object) -> None:
    """Note single statements of SQLite, which commit themselves."""
    if "sqlite" not in type(connection).__name__:
        return
    in_transaction = False

    def trace(sql: str) -> None:
        nonlocal in_transaction
        in_transaction = sql.startswith("BEGIN") or (in_transaction and not sql.startswith(("COMMIT", "ROLLBACK")))
        if sql.startswith("INSERT") and not in_transaction:
            seen.append(sql)

    connection.run_async(lambda driver: driver.set_trace_callback(trace))


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
    assert {ObjectKey(BACKEND, file.path) for file in files} <= world.snapshot().states.keys()
    assert len(commits) < uploads


async def test_intents_that_come_together(world: World, engine: AsyncEngine) -> None:
    """The first goes at once; all that come while its transaction is on its way share the next one."""
    commits = commits_beside(engine)
    intents = Intents(engine, LEDGER)
    await asyncio.gather(*(intents.stage(ObjectKey(BACKEND, str(number))) for number in range(20)))
    assert len(world.snapshot().states) == 20
    assert len(commits) == 2


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_intents_that_come_together_are_one_round_trip(world: World, engine: AsyncEngine) -> None:
    """On a server each statement costs a journey, so those that share a transaction share one."""
    beside = staging_engine(engine.sync_engine)
    assert beside is not None
    sent: list[bool] = []
    event.listen(beside, "before_cursor_execute", lambda *arguments: sent.append(arguments[-1]))
    intents = Intents(engine, LEDGER)
    await asyncio.gather(*(intents.stage(ObjectKey(BACKEND, str(number))) for number in range(20)))
    assert len(world.snapshot().states) == 20
    assert sent == [False, True]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_lone_upload_on_sqlite(world: World, engine: AsyncEngine) -> None:
    """Its intent is one statement on a connection that stays open, also after the engine was disposed of."""
    for number in range(2):
        commits = commits_beside(engine)
        opened: list[object] = []
        beside = staging_engine(engine.sync_engine)
        assert beside is not None
        event.listen(beside.pool, "connect", lambda *_: opened.append(_))  # noqa: B023  # run before the next round
        for tag in "ab":
            await upload(engine, world, f"{number}{tag}")
        assert [type(each) for each in commits] == [str, str]
        assert len(opened) == 1
        await engine.dispose()
    assert len(world.snapshot().states) == 4


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("turns", range(4))
async def test_cancelled_lone_upload_on_sqlite(world: World, engine: AsyncEngine, turns: int) -> None:
    """An intent that was sent before its upload was cancelled is taken back after it has arrived."""
    await upload(engine, world, "first")
    task = asyncio.create_task(upload(engine, world, "second"))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert len(world.snapshot().states) == 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_lone_upload_on_locked_sqlite(world: World, engine: AsyncEngine) -> None:
    """It waits until the writer is done."""
    writer = world.engine.connect()
    writer.exec_driver_sql("BEGIN IMMEDIATE")
    task = asyncio.create_task(upload(engine, world, "new"))
    await asyncio.wait({task}, timeout=0.3)
    assert not task.done()
    writer.close()
    file = await task
    assert world.snapshot().states == {ObjectKey(BACKEND, file.path): State.STAGED}


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


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[ChaosProxy]:
    """A way to the server that loses answers."""
    address = world.engine.url
    async with ChaosProxy(str(address.host), int(address.port or 0)) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: ChaosProxy, url: str) -> AsyncIterator[AsyncEngine]:
    """The database behind the proxy."""
    engine = create_async_engine(sa.make_url(async_url(url)).set(port=proxy.port))
    yield engine
    await engine.dispose()


def has_lost_it(proxy: ChaosProxy) -> bool:
    """Return whether the answer that was to be lost was lost."""
    return proxy.lost_answer is None


# Drivers of MariaDB leave broken connections to the garbage collector.
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("passing", [0, 1, 2, 3])
async def test_lost_answer_to_a_commit(world: World, far: AsyncEngine, proxy: ChaosProxy, passing: int) -> None:
    """A connection that breaks after a COMMIT took effect costs no upload, whatever that COMMIT was for."""
    proxy.lost_answer = LostAnswer(b"COMMIT", passing)
    stop = enforce_quota(LEDGER, lambda _owner, _usage: None)
    token = owner_of_new_objects.set("ann")  # a quota sees sizes, so they are recorded before the row
    try:
        files = await asyncio.gather(*(upload(far, world, f"{number:02}") for number in range(6)))
    finally:
        owner_of_new_objects.reset(token)
        stop()
    assert has_lost_it(proxy)
    states = world.snapshot().states
    assert states == {ObjectKey(BACKEND, file.path): State.STAGED for file in files}
    with world.engine.connect() as connection:
        assert Ledger(LEDGER).usage(connection, "ann") == Usage(6, 6 * len(content_of("00")))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("passing", [0, 1])
async def test_lost_answer_to_an_intent(world: World, far: AsyncEngine, proxy: ChaosProxy, passing: int) -> None:
    """A connection that breaks after an intent took effect costs no upload, be it a lone one or several that share."""
    proxy.lost_answer = LostAnswer(b"COMMIT", passing)
    files = await asyncio.gather(*(upload(far, world, f"{number:02}") for number in range(6)))
    assert has_lost_it(proxy)
    assert world.snapshot().states == {ObjectKey(BACKEND, file.path): State.STAGED for file in files}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_lost_answer_for_a_pinned_key(world: World, far: AsyncEngine, proxy: ChaosProxy) -> None:
    """A key that others may use is told from theirs: here the entry is the upload's own."""
    proxy.lost_answer = LostAnswer(b"COMMIT")
    await store_async(far, LEDGER, storages[BACKEND], b"mine", NewFile(filename="a.txt", key="pinned/a.txt"))
    assert has_lost_it(proxy)
    assert world.snapshot().states == {ObjectKey(BACKEND, "pinned/a.txt"): State.STAGED}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_lost_commit_for_a_key_of_another(world: World, far: AsyncEngine, proxy: ChaosProxy) -> None:
    """Here the COMMIT did not arrive, and the entry is that of another upload, which keeps it."""
    key = ObjectKey(BACKEND, "pinned/a.txt")
    proxy.lost_answer = LostAnswer(b"COMMIT", delivered=False)
    beside = staging_engine(far.sync_engine)
    assert beside is not None

    def be_faster(_context: sa.engine.ExceptionContext) -> None:
        with world.engine.begin() as connection:
            Ledger(LEDGER).stage(connection, [key], owner="another")

    event.listen(beside, "handle_error", be_faster, once=True)
    with pytest.raises(ObjectExistsError):
        await store_async(far, LEDGER, storages[BACKEND], b"mine", NewFile(filename="a.txt", key=key.key))
    assert has_lost_it(proxy)
    assert world.snapshot().states == {key: State.STAGED}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_lost_answer_to_a_refusal(world: World, far: AsyncEngine, proxy: ChaosProxy) -> None:
    """An upload that its owner's quota refuses is refused for that, and given up once."""

    def check(_owner: str, usage: Usage) -> None:
        if usage.bytes:
            raise QuotaExceededError("no room")

    end = enforce_quota(LEDGER, check)
    token = owner_of_new_objects.set("alice")
    proxy.lost_answer = LostAnswer(b"COMMIT", passing=1)
    try:
        with pytest.raises(QuotaExceededError, match="no room"):
            await upload(far, world, "new")
    finally:
        owner_of_new_objects.reset(token)
        end()
    assert has_lost_it(proxy)
    assert list(world.snapshot().states.values()) == [State.DOOMED]


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
    with world.engine.begin() as connection:
        Ledger(LEDGER).prolong(connection, [key, ObjectKey(BACKEND, "in a row by now")])
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
    """No row takes a file that was given up, and its bytes are deleted although they came after the sweep."""

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.to_thread(world.sweep, SweepConfig(staged_grace_seconds=-LEASE_SECONDS))
        yield b"last"

    file = await store_async(engine, LEDGER, world.backend, slowly(), NewFile(filename="new.txt"))
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=file))
        with pytest.raises(LinkLostError, match="given up before its row was written"):
            await session.commit()
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


class _Coming(LiveSource):
    """Content of which the sender, or a rule, thinks better."""

    def __init__(self, *blocks: bytes, error: Exception | None = None) -> None:
        self._blocks = list(blocks)
        self._error = error
        self.has_ended = False

    async def __anext__(self) -> bytes:
        if self._blocks:
            return self._blocks.pop(0)
        if self._error is not None:
            raise self._error
        self.has_ended = True
        raise StopAsyncIteration


async def test_content_that_never_ended(world: World, engine: AsyncEngine) -> None:
    """Content that is refused on its way leaves no entry: there is no object, and nothing to remember."""
    source = _Coming(b"first", error=FileRejectedError("not this"))
    with pytest.raises(FileRejectedError, match="not this"):
        await store_async(engine, LEDGER, world.backend, source, NewFile(filename="new.txt"))
    assert world.snapshot().states == {}
    assert world.objects() == set()


async def test_content_that_ended(world: World, engine: AsyncEngine) -> None:
    """Content that was read to its end may be in the store, whatever that says, so its entry stays."""
    fault = Fault("put", BackendUnavailableError("down"), after_effect=True)
    backend = StorageBackend(BACKEND, driver=FaultyDriver(world.backend.storage_driver, [fault]))
    with pytest.raises(BackendUnavailableError, match="down"):
        await store_async(engine, LEDGER, backend, _Coming(b"first"), NewFile(filename="new.txt"))
    assert list(world.snapshot().states.values()) == [State.DOOMED]


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


def storer_for(engine: AsyncEngine) -> LedgerStorer:
    """Return what an application stores uploads with."""
    return LedgerStorer(Place(engine, LEDGER, ()))


async def test_seen_commit_needs_no_question(world: World, engine: AsyncEngine) -> None:
    """A request need not ask the ledger about files whose row it has seen committed."""
    file = await upload(engine, world, "new")
    storer = storer_for(engine)
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=file))
        await session.flush()
        assert not storer.has_row(file)
        await session.commit()
    assert storer.has_row(file)


async def test_rows_that_are_not_known_to_be_committed(world: World, engine: AsyncEngine) -> None:
    """After a rollback, in a transaction around the session's, and in another process, the ledger is asked."""
    files = [await upload(engine, world, f"{number}") for number in range(4)]
    storer = storer_for(engine)
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=files[0]))
        await session.flush()
        await session.rollback()
        nested = await session.begin_nested()
        session.add(Document(id=2, file=files[1]))
        await session.flush()
        await nested.rollback()
        await session.commit()
    async with engine.begin() as connection, AsyncSession(connection) as session:
        session.add(Document(id=3, file=files[2]))
        await session.commit()
    assert [storer.has_row(file) for file in files] == [False] * 4
    assert await storer.release(files) == 3  # all but the one whose row is there
    assert world.contents() == {3: ("2", ())}
    world.recover()
    assert world.leftovers() == []


async def test_facts_are_written_by_the_link(world: World, engine: AsyncEngine) -> None:
    """Size and checksum come with the row, and before it if somebody else may ask for them."""
    linked, kept, handed_over = [await upload(engine, world, tag) for tag in ("one", "two", "six")]
    await storer_for(engine).keep(kept)
    await storer_for(engine).hand_over(handed_over)
    with world.engine.connect() as connection:
        known = {row.key: row.size for row in connection.execute(sa.select(LEDGER.c.key, LEDGER.c.size))}
    known = {file.path: known[file.path] for file in (linked, kept, handed_over)}  # others are reserved
    size = len(content_of("one"))
    assert known == {linked.path: None, kept.path: size, handed_over.path: size}
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=linked))
        await session.commit()
    with world.engine.connect() as connection:
        sizes = connection.scalars(sa.select(LEDGER.c.size).where(LEDGER.c.size.is_not(None))).all()
    assert sizes == [size] * 3
    assert await storer_for(engine).discard(kept)
    assert await storer_for(engine).release([handed_over]) == 1
    await engine.dispose()
    world.recover()
