"""While a part is stored, the next one is read and the one before is committed: no more, and nothing gets lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore import StorageBackend
from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.core.rule import Answer, Candidate, FileRule, Reading, Wanted
from litestar_filestore.core.types import Block, Part
from litestar_filestore.errors import BackendUnavailableError, DatabaseUnavailableError
from litestar_filestore.ledger.uploads import Upload
from litestar_filestore.uploads.receiving import Hold
from tests.tus.conftest import OFFSET_TYPE
from tests.tus.tus_app import PATH, Base, make_app

MIB = 1024 * 1024
PART_BYTES = 8 * MIB
PIECE = bytes(range(256)) * 4096
"""What the client sends at a time."""
PATIENCE = 30.0


class GatedDriver(LocalDriver):
    """A local folder in which one part has to wait at a gate."""

    def __init__(self, root: Path) -> None:
        """Let the first part wait."""
        super().__init__(root, fsync=False)
        self.gate = asyncio.Event()
        self.waiting_part = 1
        self.begun = 0
        self.error: BaseException | None = None
        """What becomes of it."""

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Put a part, or fail."""
        self.begun += 1
        if self.begun == self.waiting_part:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        return await super().put_part_async(path, upload, number, offset, blocks, size=size)


class NineMebibytes(FileRule):
    """A rule that refuses what has a byte at this offset, as soon as that has come."""

    def read(self, file: Candidate) -> Reading[Answer]:
        """Wait for that byte."""
        del file
        piece = yield Wanted(9 * MIB, 1)
        return "It is too long" if piece.data else None


async def pause(chance: random.Random | None) -> None:
    """Wait for no time, or for some milliseconds."""
    if chance is not None:
        await asyncio.sleep(chance.choice([0, 0, 0.005, 0.02]))


@dataclass
class Client:
    """A client in the event loop of the server."""

    http: httpx.AsyncClient
    driver: GatedDriver
    backend: StorageBackend
    taken: int = 0
    """How many bytes the server has taken of the last body."""

    async def ask(
        self, method: str, url: str, content: AsyncIterator[bytes] | None = None, **said: str
    ) -> httpx.Response:
        """Send a request; underscores in names of headers stand for hyphens."""
        headers = {name.replace("_", "-"): value for name, value in said.items()}
        headers["Tus-Resumable"] = "1.0.0"
        return await self.http.request(method, url, content=content, headers=headers)

    async def create(self, length: int) -> str:
        """Create an upload, and return its URL."""
        answer = await self.ask("POST", PATH, Upload_Length=str(length))
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    def append(
        self, url: str, length: int, *, stalls: bool = False, chance: random.Random | None = None
    ) -> asyncio.Task[httpx.Response]:
        """Send so many bytes, perhaps with pauses, and then perhaps nothing for ever."""

        async def body() -> AsyncGenerator[bytes]:
            for sent in range(0, length, MIB):
                self.taken = sent
                yield PIECE
                await pause(chance)
            if stalls:
                await asyncio.Event().wait()

        sent = self.ask("PATCH", url, body(), Content_Type=OFFSET_TYPE, Upload_Offset="0")
        return asyncio.create_task(sent)

    async def takes(self, least: int) -> int:
        """Wait until a part waits and the server has taken so much; return how much it has soon after."""
        async with asyncio.timeout(PATIENCE):
            while self.taken < least or self.driver.begun < self.driver.waiting_part:  # noqa: ASYNC110  # two counters
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        return self.taken


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncGenerator[Client]:
    """Serve the application."""
    driver = GatedDriver(folder / "files")
    backend = StorageBackend("documents", driver=driver)
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/rows.db")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app: Any = make_app(backend, engine, **options)
    transport = httpx.ASGITransport(app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        yield Client(http, driver, backend)


async def test_next_part_is_read_while_one_is_stored(tmp_path: Path) -> None:
    """The bytes of one part are read ahead, and no more."""
    async with serving(tmp_path) as client:
        url = await client.create(4 * PART_BYTES)
        sending = client.append(url, 4 * PART_BYTES)
        assert await client.takes(2 * PART_BYTES - MIB) <= 2 * PART_BYTES + MIB
        assert client.driver.begun == 1
        client.driver.gate.set()
        answer = await sending
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(4 * PART_BYTES))
        (info,) = client.backend.list()
        assert b"".join(client.backend.get(info.key)) == PIECE * 32


async def test_store_that_fails_ends_the_request_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A client that sends nothing more is told, and can go on from what was committed."""
    async with serving(tmp_path) as client:
        client.driver.waiting_part, client.driver.error = 2, BackendUnavailableError("On purpose")
        url = await client.create(4 * PART_BYTES)
        sending = client.append(url, 2 * PART_BYTES + MIB, stalls=True)
        assert await client.takes(2 * PART_BYTES) == 2 * PART_BYTES
        client.driver.gate.set()
        assert (await asyncio.wait_for(sending, PATIENCE)).status_code == 503
        assert (await client.ask("HEAD", url)).headers["upload-offset"] == str(PART_BYTES)
        assert "could not store a part, either" not in caplog.text  # it is the answer's error


async def test_refusal_waits_for_the_part_on_its_way(tmp_path: Path) -> None:
    """A file that is refused while a part is stored leaves nothing behind."""
    async with serving(tmp_path, rules=[NineMebibytes()]) as client:
        url = await client.create(2 * PART_BYTES)
        sending = client.append(url, 2 * PART_BYTES)
        assert await client.takes(9 * MIB) <= 10 * MIB
        assert (client.driver.begun, sending.done()) == (1, False)
        client.driver.gate.set()
        answer = await sending
        assert (answer.status_code, answer.json()["detail"]) == (400, "It is too long")
        assert (await client.ask("HEAD", url)).status_code == 404
        assert [path for path in client.driver.root.rglob("*") if path.is_file()] == []


async def test_part_that_is_cancelled_leaves_no_gap(tmp_path: Path) -> None:
    """What has come behind a part that is not stored is not kept either."""
    async with serving(tmp_path) as client:
        client.driver.waiting_part, client.driver.error = 2, asyncio.CancelledError()
        url = await client.create(4 * PART_BYTES)
        sending = client.append(url, 2 * PART_BYTES + MIB)
        await client.takes(2 * PART_BYTES)
        client.driver.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, PATIENCE)
        assert (await client.ask("HEAD", url)).headers["upload-offset"] == str(PART_BYTES)


class GatedCommits:
    """Holds up the commit of the first part, and lets it fail if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        """What becomes of it."""
        self.begun = 0
        """How many parts were going to be committed."""
        commit = Hold.commit

        async def waiting(hold: Hold, after: Upload, parts: list[Part], **options: Any) -> None:
            self.begun += bool(parts)
            if parts and self.begun == 1:
                await self.gate.wait()
                if self.error is not None:
                    raise self.error
            await commit(hold, after, parts, **options)

        monkeypatch.setattr(Hold, "commit", waiting)


async def test_next_part_is_stored_while_one_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more than that: the third one waits, and so does the commit of the second."""
    commits = GatedCommits(monkeypatch)
    async with serving(tmp_path) as client:
        client.driver.gate.set()
        client.driver.waiting_part = 2
        url = await client.create(4 * PART_BYTES)
        sending = client.append(url, 4 * PART_BYTES)
        await client.takes(3 * PART_BYTES - MIB)
        assert (client.driver.begun, commits.begun) == (2, 1)
        commits.gate.set()
        answer = await sending
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(4 * PART_BYTES))
        (info,) = client.backend.list()
        assert b"".join(client.backend.get(info.key)) == PIECE * 32


async def test_part_behind_a_commit_that_fails_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored, but what is before it is not known to be; the client sends both again."""
    commits = GatedCommits(monkeypatch)
    commits.error = DatabaseUnavailableError("On purpose")
    async with serving(tmp_path) as client:
        client.driver.gate.set()
        client.driver.waiting_part = 2
        url = await client.create(4 * PART_BYTES)
        sending = client.append(url, 2 * PART_BYTES + MIB, stalls=True)
        await client.takes(2 * PART_BYTES)
        commits.gate.set()
        assert (await asyncio.wait_for(sending, PATIENCE)).status_code == 503
        assert (await client.ask("HEAD", url)).headers["upload-offset"] == "0"
        answer = await client.append(url, 4 * PART_BYTES)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(4 * PART_BYTES))
        (info,) = client.backend.list()
        assert b"".join(client.backend.get(info.key)) == PIECE * 32


async def test_commits_never_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each behind the one before, whatever of putting, committing and reading is slow."""
    chance, commit, put = random.Random(1), Hold.commit, LocalDriver.put_part_async
    under_way, offsets = 0, list[int]()

    async def committing(hold: Hold, after: Upload, parts: list[Part], **options: Any) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        offsets.append(after.offset)
        await pause(chance)
        await commit(hold, after, parts, **options)
        under_way -= 1

    async def putting(*arguments: Any, **options: Any) -> Part:
        part = await put(*arguments, **options)
        await pause(chance)
        return part

    monkeypatch.setattr("litestar_filestore.uploads.receiving._PART_BYTES", MIB)
    monkeypatch.setattr(Hold, "commit", committing)
    monkeypatch.setattr(LocalDriver, "put_part_async", putting)
    async with serving(tmp_path) as client:
        client.driver.gate.set()
        for _ in range(4):
            url = await client.create(40 * MIB)
            answer = await client.append(url, 40 * MIB, chance=chance)
            assert (answer.status_code, answer.headers["upload-offset"], under_way) == (204, str(40 * MIB), 0)
            assert offsets == sorted(offsets)
            offsets.clear()
        assert {b"".join(client.backend.get(info.key)) == PIECE * 40 for info in client.backend.list()} == {True}
