"""Whatever becomes of a request, what it has stored belongs to a row, is kept on purpose, or goes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from litestar import Request, Response, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import MultipartBody
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from litestar_filestore import ContentTypes, FileObject, MaxSize, Storages, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.errors import ConfigurationError, LinkLostError, QuotaExceededError
from litestar_filestore.ledger import intents as uploads
from litestar_filestore.ledger.fsck import UNTRACKED
from litestar_filestore.ledger.intents import store_async
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Ledger, Usage
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepResult, on_doomed
from litestar_filestore.ledger.table import State, ledger_of
from litestar_filestore.uploads.intake import RequestFiles, UploadSettings, owned_by
from litestar_filestore.uploads.storing import ApplicationStorer
from tests.ledger.models import BACKEND, Document
from tests.ledger.world import LEDGER, World
from tests.tracking.conftest import Serve

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
AnyRequest = Request[Any, Any, Any]


async def store(request: AnyRequest, name: str = "a.txt") -> FileObject:
    """Store a file as the reading of a form does."""
    files = owned_by(request.scope)
    backend = storages.get_backend(BACKEND)
    file = await files.storer.store(backend, b"content", NewFile(filename=name, content_type="text/plain", ext=".txt"))
    files.add(file)
    return file


def states(world: World) -> list[State]:
    """Return the states of all objects that the ledger knows."""
    return sorted(world.snapshot().states.values())


class TestEndsOfRequests:
    """How a request ends, and what is left then."""

    async def test_post_that_links(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A file in a committed row stays."""

        @post("/")
        async def create(request: AnyRequest) -> None:
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=await store(request)))
                await session.commit()

        client = await serve(create)
        assert (await client.post("/")).status_code == 201
        assert (states(world), len(world.objects())) == ([State.LINKED], 1)

    async def test_post_that_forgets(self, world: World, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        """A file that no row takes is given up, and since the answer was a success the log names the handler."""

        @post("/")
        async def forgetful(request: AnyRequest) -> None:
            await store(request, "1.txt")
            await store(request, "2.txt")

        client = await serve(forgetful)
        assert (await client.post("/")).status_code == 201
        assert states(world) == [State.DOOMED, State.DOOMED]
        (record,) = [each for each in caplog.records if "went into no row" in each.message]
        assert record.levelno == logging.WARNING
        assert "forgetful" in record.message
        assert "2 of 2" in record.message

    @pytest.mark.parametrize("error", [NotAuthorizedException(), ValueError("broken")], ids=["4xx", "5xx"])
    async def test_post_that_fails(
        self, world: World, serve: Serve, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file of a request that fails is given up without a warning: the failure is the news."""

        @post("/")
        async def fail(request: AnyRequest) -> None:
            await store(request)
            raise error

        client = await serve(fail)
        assert (await client.post("/")).status_code in {401, 500}
        assert states(world) == [State.DOOMED]
        assert [each for each in caplog.records if "went into no row" in each.message] == []

    async def test_post_that_answers_an_error(self, world: World, serve: Serve) -> None:
        """An answer of 409 that the handler returns gives the file up like one that it raises."""

        @post("/")
        async def refuse(request: AnyRequest) -> Response[None]:
            await store(request)
            return Response(None, status_code=409)

        assert (await (await serve(refuse)).post("/")).status_code == 409
        assert states(world) == [State.DOOMED]

    async def test_post_whose_transaction_is_rolled_back(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A row that was flushed and rolled back has not taken its file."""

        @post("/")
        async def create(request: AnyRequest) -> None:
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=await store(request)))
                await session.flush()
                await session.rollback()

        await (await serve(create)).post("/")
        assert states(world) == [State.DOOMED]

    async def test_post_that_takes_one_of_two(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """Each file is judged by itself."""

        @post("/")
        async def create(request: AnyRequest) -> None:
            taken = await store(request, "taken.txt")
            await store(request, "left.txt")
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=taken))
                await session.commit()

        await (await serve(create)).post("/")
        assert states(world) == [State.DOOMED, State.LINKED]

    async def test_post_that_is_cancelled(self, world: World, serve: Serve) -> None:
        """A server that cancels a request leaves nothing behind, however often it cancels."""
        stored = asyncio.Event()

        @post("/")
        async def hang(request: AnyRequest) -> None:
            await store(request)
            stored.set()
            await asyncio.Event().wait()

        client = await serve(hang)
        task = asyncio.create_task(client.post("/"))
        await stored.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert states(world) == [State.DOOMED]

    async def test_sweepers_are_woken(self, world: World, serve: Serve) -> None:
        """What is given up is swept soon, not at the next interval."""
        woken: list[bool] = []

        @post("/")
        async def forgetful(request: AnyRequest) -> None:
            await store(request)

        client = await serve(forgetful)
        forget = on_doomed(lambda: woken.append(True))
        try:
            await client.post("/")
        finally:
            forget()
        assert woken == [True]
        world.register()
        assert world.sweep().deleted == 1
        assert world.objects() == set()

    async def test_post_without_files(self, world: World, serve: Serve) -> None:
        """A request that stores nothing costs the database nothing."""

        @post("/")
        async def nothing() -> None: ...

        client = await serve(nothing)
        assert (await client.post("/")).status_code == 201
        assert states(world) == []


class TestForms:
    """The same with a form that Litestar's handlers declare."""

    async def test_post_of_a_form(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A file of a form that goes into a row stays."""

        @post("/")
        async def create(data: MultipartBody[FileObject]) -> None:
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=data))
                await session.commit()

        client = await serve(create)
        assert (await client.post("/", files={"file": ("a.txt", b"content")})).status_code == 201
        assert states(world) == [State.LINKED]

    async def test_post_of_a_form_that_is_forgotten(self, world: World, serve: Serve) -> None:
        """A file of a form that goes nowhere is given up."""

        @post("/")
        async def forget(data: MultipartBody[FileObject]) -> None: ...

        client = await serve(forget)
        assert (await client.post("/", files={"file": ("a.txt", b"content")})).status_code == 201
        assert states(world) == [State.DOOMED]

    async def test_post_that_is_broken_off(self, world: World, serve: Serve) -> None:
        """A client that leaves in the middle of its second file leaves neither file behind."""

        @post("/")
        async def forget(data: MultipartBody[list[FileObject]]) -> None: ...

        def part(name: str) -> bytes:
            return f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()

        async def body() -> AsyncIterator[bytes]:
            yield part("1.txt") + b"whole\r\n" + part("2.txt")
            for _ in range(10):
                yield b"half of" * 20_000
            raise ConnectionResetError

        client = await serve(forget)
        await client.post("/", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert states(world) == [State.DOOMED]  # of the second one there is no object, and nothing to remember


class TestConfiguration:
    """What the application says about all uploads."""

    async def test_rules_of_the_configuration(self, world: World, serve: Serve) -> None:
        """A rule of the configuration holds, unless the form has one of its class."""

        @post("/")
        async def keep(data: MultipartBody[FileObject], storages: Storages) -> None:
            await storages.keep(data)

        @post("/larger")
        async def keep_larger(data: MultipartBody[Annotated[FileObject, MaxSize(100)]], storages: Storages) -> None:
            await storages.keep(data)

        client = await serve(keep, keep_larger, config={"rules": [MaxSize(10), ContentTypes("text/plain")]})
        answers = [
            await client.post(path, files={"file": ("a.txt", content)})
            for path in ("/", "/larger")
            for content in (b"x" * 10, b"x" * 11, b"<html>")
        ]
        assert [each.status_code for each in answers] == [201, 413, 415, 201, 201, 415]
        assert answers[1].json()["extra"][0]["key"] == "file"
        assert states(world).count(State.KEPT) == 3

    async def test_detector_of_the_configuration(self, serve: Serve) -> None:
        """Another detector decides what files are, and what the client said is kept beside it."""

        class Detecting:
            head_bytes = 1

            def detect(self, head: bytes, *, filename: str) -> str:
                return f"application/x-{head[:1].hex()}-{len(filename)}"

        @post("/")
        async def keep(data: MultipartBody[FileObject], storages: Storages) -> Any:
            await storages.keep(data)
            return {"type": data.content_type, **data.metadata}

        client = await serve(keep, config={"detector": Detecting()})
        answer = await client.post("/", files={"file": ("a.txt", b"content", "text/plain")})
        assert answer.json() == {"type": "application/x-63-5", "declared_type": "text/plain"}


class TestOpenTransactions:
    """Rows that are not committed yet when the request ends."""

    @pytest.mark.parametrize("url", ["postgresql"], indirect=True)
    async def test_row_that_is_committed_later(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A file in the hands of an open transaction is left to it."""
        session = AsyncSession(engine)

        @post("/")
        async def create(request: AnyRequest) -> None:
            session.add(Document(id=1, file=await store(request)))
            await session.flush()

        await (await serve(create)).post("/")
        await session.commit()
        await session.close()
        assert states(world) == [State.LINKED]

    async def test_row_that_comes_too_late(self, engine: AsyncEngine, serve: Serve) -> None:
        """A file that was given up with its request cannot get into a row any more."""
        late: list[FileObject] = []

        @post("/")
        async def create(request: AnyRequest) -> None:
            late.append(await store(request))

        await (await serve(create)).post("/")
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=late[0]))
            with pytest.raises(LinkLostError):
                await session.commit()


class TestKeeping:
    """Files that no row holds, on purpose."""

    async def kept(self, serve: Serve) -> FileObject:
        """Upload a file that the handler keeps."""
        files: list[FileObject] = []

        @post("/")
        async def keep(request: AnyRequest, storages: Storages) -> None:
            file = await store(request)
            await storages.keep(file)
            files.append(file)
            raise ValueError("after that, anything may happen")

        await (await serve(keep)).post("/")
        return files[0]

    async def test_kept_file_stays(self, world: World, serve: Serve) -> None:
        """A kept file outlives its request, every lease and every sweep."""
        await self.kept(serve)
        world.register()
        world.recover()
        assert (states(world), len(world.objects())) == ([State.KEPT], 1)

    async def test_kept_file_is_no_orphan(self, world: World, serve: Serve) -> None:
        """The comparison of rows, ledger and store finds nothing wrong with a kept file, and repairs nothing away."""
        await self.kept(serve)
        world.register()
        assert (await asyncio.to_thread(world.fsck, repair=True)).counts == {}
        assert len(world.objects()) == 1

    async def test_row_takes_a_kept_file(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A kept file can go into a row later, and belongs to it then."""
        file = await self.kept(serve)
        async with AsyncSession(engine) as session:
            session.add(Document(id=1, file=file))
            await session.commit()
            assert states(world) == [State.LINKED]
            await session.execute(sa.delete(Document))
            await session.commit()
        assert states(world) == [State.DOOMED]

    async def test_discarded_file(self, world: World, serve: Serve) -> None:
        """A kept file goes when the application says so."""
        file = await self.kept(serve)

        @post("/discard")
        async def discard(storages: Storages) -> None:
            await storages.discard(file)

        await (await serve(discard)).post("/discard")
        assert states(world) == [State.DOOMED]

    async def test_discarded_file_of_a_row(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A file that a row holds is not the application's to discard."""
        file = await self.kept(serve)

        @post("/discard")
        async def discard(storages: Storages) -> None:
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=file))
                await session.commit()
            await storages.discard(file)

        await (await serve(discard)).post("/discard")
        assert states(world) == [State.LINKED]

    async def test_file_that_was_stored_by_hand(self, world: World, serve: Serve) -> None:
        """An object that the ledger does not know is no orphan once it is kept."""
        world.register()
        file = FileObject(BACKEND, "a.txt", content=b"content").save()
        assert (await asyncio.to_thread(world.fsck, repair=False)).counts == {UNTRACKED: 1}

        @post("/")
        async def keep(storages: Storages) -> None:
            await storages.keep(file)

        await (await serve(keep)).post("/")
        assert (states(world), (await asyncio.to_thread(world.fsck, repair=False)).counts) == ([State.KEPT], {})

    async def test_file_that_was_given_up(self, serve: Serve) -> None:
        """What was given up cannot be kept any more, and the handler hears of it."""
        late: list[FileObject] = []

        @post("/")
        async def create(request: AnyRequest) -> None:
            late.append(await store(request))

        @post("/keep")
        async def keep(storages: Storages) -> None:
            await storages.keep(late[0])

        client = await serve(create, keep)
        await client.post("/")
        assert (await client.post("/keep")).status_code == 409

    async def test_outside_of_requests(self, world: World) -> None:
        """Without a request there is nobody to keep for, and that is an error."""
        with pytest.raises(ConfigurationError, match="requests"):
            await storages.keep(FileObject(world.backend, "a.txt"))


def test_connection_without_the_middleware() -> None:
    """Without the plugin nobody would give files up, so they are not taken."""
    with pytest.raises(ConfigurationError, match="FilestorePlugin"):
        owned_by({})


async def test_files_of_a_request(world: World) -> None:
    """A request knows its files in their order, until it gives them up."""
    files = RequestFiles(ApplicationStorer(), UploadSettings())
    for name in ("1", "2"):
        files.add(await files.storer.store(world.backend, b"content", NewFile(filename=name)))
    assert [file.filename for file in files] == ["1", "2"]
    assert await files.release() == 2
    assert (len(files), world.objects()) == (0, set())


class TestLeases:
    """What a request has stored stays as long as the request runs."""

    async def test_post_that_takes_longer_than_a_lease(
        self, world: World, engine: AsyncEngine, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its files are held from the moment when they are stored, also those that the handler stores by hand."""
        monkeypatch.setattr(uploads, "LEASE_SECONDS", 0.03)  # how often; each renewal is for the whole lease
        beside = staging_engine(engine.sync_engine)
        assert beside is not None
        renewed = asyncio.Event()
        table = ledger_of(Document.metadata)
        assert table is not None
        swept: list[SweepResult] = []

        @post("/")
        async def create(request: AnyRequest) -> None:
            first = await store(request)
            backend = storages.get_backend(BACKEND)
            second = await store_async(engine, table, backend, b"by hand", NewFile(filename="b.txt"))
            third = await FileObject(BACKEND, "c.txt", content=b"saved").save_async()
            await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
            event.listen(beside, "commit", lambda _connection: renewed.set())
            for _ in range(2):  # the first may have been on its way
                renewed.clear()
                await asyncio.wait_for(renewed.wait(), 30)
            await asyncio.to_thread(world.pass_time, LEASE_SECONDS - 60)
            swept.append(await asyncio.to_thread(world.sweep))
            async with AsyncSession(engine) as session:
                session.add_all(Document(id=number, file=file) for number, file in enumerate((first, second, third)))
                await session.commit()

        client = await serve(create)
        assert (await client.post("/")).status_code == 201
        assert swept == [SweepResult()]
        assert states(world) == [State.LINKED] * 3


class TestOwners:
    """Whose quota counts what comes through a link."""

    async def test_put_through_a_link(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """A link carries its owner to what is uploaded through it, and the owner's quota refuses it."""
        asked: list[tuple[str, Usage]] = []

        def check(owner: str, usage: Usage) -> None:
            asked.append((owner, usage))
            if usage.bytes > 10:
                raise QuotaExceededError(f"{owner} has no room left")

        @get("/link")
        async def link() -> str:
            owner_of_new_objects.set("alice")
            return storages.url_for(FileObject(BACKEND, "a.txt"), for_upload=True)

        ledger = LedgerConfig([engine], run_sweeper=False, quota=check)
        client = await serve(link, config={"secret": SECRET, "ledger": ledger})
        # In tasks of their own, as servers answer requests: what a handler sets ends with it.
        urls = [(await asyncio.create_task(client.get("/link"))).text for _ in range(2)]
        answers = [await client.put(url, content=b"8 bytes.") for url in urls]
        assert [answer.status_code for answer in answers] == [201, 413]
        assert asked == [
            ("alice", Usage(1, 0)),
            ("alice", Usage(1, 8)),
            ("alice", Usage(2, 8)),
            ("alice", Usage(2, 16)),
        ]
        assert owner_of_new_objects.get() is None
        assert states(world) == [State.DOOMED, State.STAGED]

    async def test_put_through_a_link_of_nobody(self, world: World, engine: AsyncEngine, serve: Serve) -> None:
        """What comes through it becomes the property of whose row takes it."""

        @get("/link")
        async def link() -> str:
            return storages.url_for(FileObject(BACKEND, "a.txt"), for_upload=True)

        @post("/")
        async def create(data: MultipartBody[dict[str, str]]) -> None:
            owner_of_new_objects.set("bob")
            async with AsyncSession(engine) as session:
                session.add(Document(id=1, file=storages.file_for(data["reference"])))
                await session.commit()

        client = await serve(link, create, config={"secret": SECRET})
        told = (await client.put((await client.get("/link")).text, content=b"8 bytes.")).json()
        answer = await client.post("/", files={"reference": (None, told["reference"])})
        assert answer.status_code == 201, answer.text
        with world.engine.connect() as connection:
            used = Ledger(LEDGER).usage(connection, "bob")
        assert (used, states(world)) == (Usage(1, 8), [State.LINKED])
