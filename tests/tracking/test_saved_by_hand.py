"""What a program stores by itself while an application runs belongs to the request, or to whoever takes it in time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from litestar import post
from litestar.params import FromQuery
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, MemoryBackend, Storages, storages
from litestar_filestore.errors import (
    BackendUnavailableError,
    ConfigurationError,
    DatabaseUnavailableError,
    ObjectExistsError,
    QuotaExceededError,
)
from litestar_filestore.ledger.ledger import Usage
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import Fault, FaultyDriver
from litestar_filestore.uploads.storing import ApplicationStorer
from tests.ledger.models import BACKEND, Document
from tests.ledger.world import World
from tests.tracking.conftest import Serve

SAVE = pytest.mark.parametrize("save", ["sync", "async"])


def new_file(name: str = "a.txt") -> FileObject:
    """Make a file that is still to be stored."""
    return FileObject(BACKEND, name, content=b"content")


def saver(save: str) -> Callable[[FileObject], Awaitable[FileObject]]:
    """Return what saves a file in one of the halves."""

    async def in_this_thread(file: FileObject) -> FileObject:
        return file.save()

    return in_this_thread if save == "sync" else FileObject.save_async


def states(world: World) -> list[State]:
    """Return the states of all objects that the ledger knows."""
    return sorted(world.snapshot().states.values())


class TestInRequests:
    """A handler that stores files by itself."""

    @SAVE
    async def test_post_that_forgets(self, world: World, serve: Serve, save: str) -> None:
        """What no row takes is given up with the request."""

        @post("/")
        async def forget() -> None:
            await saver(save)(new_file())

        client = await serve(forget)
        assert (await client.post("/")).status_code == 201
        assert states(world) == [State.DOOMED]

    @SAVE
    async def test_post_that_links(self, world: World, engine: AsyncEngine, serve: Serve, save: str) -> None:
        """What a row takes stays with it."""

        @post("/")
        async def create() -> None:
            file = await saver(save)(new_file())
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=file))
                await session.commit()

        client = await serve(create)
        assert (await client.post("/")).status_code == 201
        assert (states(world), len(world.objects())) == ([State.LINKED], 1)

    async def test_post_that_copies_and_fails(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A copy that was saved before the request failed goes with it; one that was not saved was never stored."""
        world.register()
        world.seed()
        storages.unregister_backend(BACKEND)

        @post("/")
        async def fail() -> None:
            async with AsyncSession(engine) as session:
                file = (await session.get_one(Document, 1)).file
                assert file is not None
                await file.copy().save_async()
                session.add(Document(id=4, file=file.copy()))
                raise ValueError("before the flush")

        client = await serve(fail)
        assert (await client.post("/")).status_code == 500
        assert states(world) == [State.DOOMED, *([State.LINKED] * 5)]

    async def test_post_of_a_sync_handler(self, world: World, serve: Serve) -> None:
        """A handler in a worker thread stores for its request as well."""

        @post("/", sync_to_thread=True)
        def forget() -> None:
            new_file().save()

        await (await serve(forget)).post("/")
        assert states(world) == [State.DOOMED]

    async def test_post_that_keeps(self, world: World, serve: Serve) -> None:
        """What is kept on purpose stays without a row."""

        @post("/")
        async def keep(storages: Storages) -> None:
            await storages.keep(await new_file().save_async())

        assert (await (await serve(keep)).post("/")).status_code == 201
        assert states(world) == [State.KEPT]

    async def test_post_that_has_read(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A transaction that began before the file was stored takes it, whatever it can see."""
        world.register()
        world.seed()
        storages.unregister_backend(BACKEND)
        repeatable = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}

        @post("/")
        async def replace() -> None:
            async with AsyncSession(engine) as session:
                connection = await session.connection(execution_options=repeatable)
                assert connection.in_transaction()
                row = await session.get_one(Document, 1)
                row.file = await new_file("one.txt").save_async()
                await session.commit()

        client = await serve(replace)
        assert (await client.post("/")).status_code == 201
        assert states(world).count(State.LINKED) == 5
        world.register()
        world.recover()
        assert world.leftovers() == []

    async def test_post_that_has_written(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A transaction that holds SQLite's write lock does not keep its own request from storing a file."""
        world.register()
        world.seed()
        storages.unregister_backend(BACKEND)

        @post("/")
        async def replace(commit: FromQuery[bool]) -> None:
            async with AsyncSession(engine) as session:
                row = await session.get_one(Document, 1)
                row.name = "written"
                await session.flush()
                row.file = await new_file("one.txt").save_async()
                await session.flush()
                await (session.commit() if commit else session.rollback())

        client = await serve(replace)
        assert (await client.post("/?commit=false")).status_code == 201
        assert (await client.post("/?commit=true")).status_code == 201
        world.register()
        world.recover()
        assert world.leftovers() == []
        assert len(world.objects()) == 5

    @SAVE
    async def test_post_whose_store_fails(
        self, world: World, serve: Serve, save: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A save that fails after its effect leaves an object that is given up at once."""
        driver = FaultyDriver(world.backend.storage_driver)
        monkeypatch.setattr(world.backend, "_storage_driver", driver)
        driver.plan.append(Fault("put", BackendUnavailableError("the answer was lost"), after_effect=True))

        @post("/")
        async def store() -> None:
            await saver(save)(new_file())

        client = await serve(store)
        assert (await client.post("/")).status_code == 503
        assert (states(world), len(world.objects())) == ([State.DOOMED], 1)

    @SAVE
    async def test_post_over_quota(self, world: World, engine: AsyncEngine, serve: Serve, save: str) -> None:
        """What is stored by hand counts for its owner, as an upload does, and is refused like one."""

        def check(owner: str, usage: Usage) -> None:
            assert owner == "alice"
            if usage.bytes > 10:
                raise QuotaExceededError("full")

        @post("/")
        async def store() -> None:
            owner_of_new_objects.set("alice")
            files = [await saver(save)(new_file())]
            with pytest.raises(QuotaExceededError):
                await saver(save)(new_file("second.txt"))
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=files[0]))
                await session.commit()

        client = await serve(store, config={"ledger": LedgerConfig([engine], run_sweeper=False, quota=check)})
        assert (await client.post("/")).status_code == 201
        assert states(world) == [State.DOOMED, State.LINKED]

    @SAVE
    async def test_post_to_a_pinned_key(self, world: World, serve: Serve, save: str) -> None:
        """A key of the program's own choice is taken once, and the object that has it stays as it is."""
        world.backend.put(b"somebody else's", key="mine.txt")

        @post("/")
        async def store() -> None:
            with pytest.raises(ObjectExistsError):
                await saver(save)(FileObject(BACKEND, "a.txt", "mine.txt", content=b"content"))
            await saver(save)(FileObject(BACKEND, "a.txt", "other.txt", content=b"content"))

        client = await serve(store)
        assert (await client.post("/")).status_code == 201
        assert states(world) == [State.DOOMED]
        assert world.backend.get_content("mine.txt") == b"somebody else's"

    async def test_post_to_a_backend_without_columns(self, world: World, serve: Serve) -> None:
        """In a backend that no column names, files are nobody's but the program's."""
        other = MemoryBackend("other")

        @post("/")
        async def store() -> None:
            await FileObject(other, "a.txt", content=b"content").save_async()

        client = await serve(store)
        assert (await client.post("/")).status_code == 201
        assert (states(world), len(list(other.list()))) == ([], 1)


class TestOutsideOfRequests:
    """A task of the application, or a script beside it."""

    @SAVE
    async def test_lease_runs_out(self, world: World, serve: Serve, save: str) -> None:
        """What nobody takes is swept when its lease has run out, and not before."""
        await serve()
        await saver(save)(new_file())
        assert states(world) == [State.STAGED]
        assert (await asyncio.to_thread(world.sweep)).deleted == 0
        await asyncio.to_thread(world.recover)
        assert (states(world), world.objects()) == ([], set())

    async def test_row_takes_it(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A row can take it meanwhile, and after a rollback another one."""
        await serve()
        file = await new_file("one.txt").save_async()
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=file))
            await session.flush()
            await session.rollback()
            session.add(Document(id=2, file=file))
            await session.commit()
        await asyncio.to_thread(world.recover)
        assert states(world) == [State.LINKED]

    async def test_sync_session_takes_it(self, world: World, serve: Serve) -> None:
        """So can a session of another engine for the same database."""
        await serve()
        file = await new_file("one.txt").save_async()

        def take() -> None:
            with Session(world.engine) as session:
                session.add(Document(id=1, file=file))
                session.commit()

        await asyncio.to_thread(take)
        assert states(world) == [State.LINKED]

    async def test_keep(self, world: World, serve: Serve) -> None:
        """Files are kept and discarded outside of requests too, while the application runs."""
        await serve()
        kept, discarded = await new_file().save_async(), await new_file().save_async()
        await storages.keep(kept)
        await storages.keep(discarded)
        await storages.discard(discarded)
        assert states(world) == [State.DOOMED, State.KEPT]

    async def test_task_that_outlives_its_request(self, world: World, serve: Serve) -> None:
        """What a task stores after its request is over is left to its lease."""
        over = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        @post("/")
        async def begin() -> None:
            async def store() -> None:
                await over.wait()
                await new_file().save_async()

            tasks.append(asyncio.create_task(store()))

        await (await serve(begin)).post("/")
        over.set()
        await tasks[0]
        assert states(world) == [State.STAGED]

    async def test_cancelled_save(self, world: World, serve: Serve) -> None:
        """A save that is cancelled while it writes is given up."""
        await serve()
        begun = asyncio.Event()

        async def blocks() -> AsyncIterator[bytes]:
            yield b"content"
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(FileObject(BACKEND, "a.txt", content=blocks()).save_async())
        await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert states(world) == [State.DOOMED]

    async def test_without_an_application(self, world: World) -> None:
        """Where no application runs, nothing is entered and nobody keeps files."""
        world.register()
        file = await new_file().save_async()
        assert states(world) == []
        with pytest.raises(ConfigurationError, match="while it runs"):
            await storages.keep(file)
        file.delete()


@SAVE
async def test_database_that_was_away(world: World, save: str) -> None:
    """Where an application has not found the ledger of a column's backend yet, nothing is stored that nobody knows."""
    world.register()
    looked: list[bool] = []
    storer = ApplicationStorer()
    storer.open([], look_again=lambda: looked.append(True))
    with storages.kept_by(storer):
        with pytest.raises(DatabaseUnavailableError):
            await saver(save)(new_file())
        other = await saver(save)(FileObject(MemoryBackend("other"), "a.txt", content=b"content"))
    assert (looked, world.objects(), other.get_content()) == ([True], set(), b"content")


async def test_sync_save_uses_no_connection_of_the_loop(world: World, engine: AsyncEngine, serve: Serve) -> None:
    """A sync save under an async driver leaves no connection behind, and the loop's own go on working."""
    await serve()
    for _ in range(3):
        new_file().save()
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(Document)) == 0
    assert states(world) == [State.STAGED] * 3
