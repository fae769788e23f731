"""Downloads from a store that does not answer: they end with an error, and hold nothing that others wait for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    DownloadConfig,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    StoredObject,
    create_file_router,
    storages,
)
from litestar_filestore.testing import Fault, FaultyBackend
from tests.uploads.scripted import Script, messages, sending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BACKEND = "stalled"
LONG = 100_000.0
PATIENCE = 30.0
"""Seconds that only a hang exceeds."""


class Base(DeclarativeBase):
    pass


class Page(Base):
    """A row with a file."""

    __tablename__ = "stalled_page"
    id: Mapped[int] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


@get("/handler/{number:int}")
async def download(number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> FileDownload:
    """Send the file of a row."""
    return FileDownload((await db_session.get_one(Page, number)).file)


@get("/object")
async def unknown(db_session: NamedDependency[AsyncSession]) -> FileDownload:
    """Send an object, of which the store is asked everything."""
    row = (await db_session.scalars(sa.select(Page))).one()
    return FileDownload.of(BACKEND, row.file.path)


@get("/counted")
async def counted(db_session: NamedDependency[AsyncSession]) -> FileDownload:
    """Count the download, in a statement that the session is not asked about afterwards."""
    await db_session.execute(sa.text("UPDATE stalled_page SET hits = hits + 1"))
    return FileDownload((await db_session.scalars(sa.select(Page))).one().file)


@get("/page")
async def page(db_session: NamedDependency[AsyncSession]) -> int:
    """Ask the database, of which there is one connection."""
    return (await db_session.scalars(sa.select(Page.hits))).one()


class _Site:
    def __init__(self, app: Litestar, backend: FaultyBackend, engine: AsyncEngine) -> None:
        self.app = app
        self.driver = backend.faulty
        self.engine = engine

    async def get(self, path: str) -> Any:
        return await Script(messages()).run(self.app, path, method="GET")

    async def asked(self) -> None:
        """Return when the store is asked for something."""
        async with asyncio.timeout(PATIENCE):
            while not self.driver.calls:  # noqa: ASYNC110  # the driver tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def running(folder: Path, first_byte_seconds: float, fault: Fault | None = None) -> AsyncIterator[_Site]:
    """Run an application with one connection to its database; AA commits by the status of the answer."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/test.db", pool_size=1, max_overflow=0, pool_timeout=5)
    database = SQLAlchemyAsyncConfig(engine_instance=engine, before_send_handler="autocommit")
    backend = FaultyBackend(MemoryBackend(BACKEND))
    config = FilestoreConfig([backend], downloads=DownloadConfig(first_byte_seconds=first_byte_seconds), ledger=None)
    router = create_file_router("/router/{id:int}", Page.file, public=True)
    app = Litestar(
        [download, unknown, counted, page, router], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(config)]
    )
    async with app.lifespan():
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add(Page(id=1, file=FileObject(BACKEND, "a.txt", content=b"content")))
            await session.commit()
        backend.faulty.calls.clear()
        backend.faulty.plan.extend([fault] if fault is not None else [])
        yield _Site(app, backend, engine)
    await engine.dispose()
    storages.unregister_backend(BACKEND)


STALLED = Fault("get", times=None, delay_seconds=LONG)


@pytest.mark.parametrize(
    ("path", "operation"), [("/handler/1", "get"), ("/router/1", "get"), ("/object", "get"), ("/object", "head")]
)
async def test_connection_is_free_meanwhile(tmp_path: Path, path: str, operation: Any) -> None:
    """Pages are answered while a download waits for its store, although there is one connection for all of them."""
    stalled = Fault(operation, times=None, delay_seconds=LONG)
    async with (
        running(tmp_path, LONG, stalled) as site,
        sending(Script(messages()), site.app, path, method="GET"),
    ):
        await site.asked()
        assert (await site.get("/page")).status == 200


@pytest.mark.parametrize("path", ["/handler/1", "/object", "/router/1"])
async def test_first_byte_takes_too_long(tmp_path: Path, path: str) -> None:
    """A store that does not begin to answer is 503, and nothing of the file was sent."""
    async with running(tmp_path, 0.05, STALLED) as site, asyncio.timeout(PATIENCE):
        answer = await site.get(path)
        assert answer.status == 503
        assert "content-disposition" not in answer.headers


async def test_slow_client_has_time(tmp_path: Path) -> None:
    """The limit is for the store: a client may take as long as it likes once the answer has begun."""
    async with running(tmp_path, 0.05) as site:
        started = asyncio.Event()
        taken = asyncio.Event()

        class Slow(Script):
            async def send(self, message: Any) -> None:
                await super().send(message)
                started.set()
                await taken.wait()

        async with sending(Slow(messages()), site.app, "/handler/1", method="GET") as task:
            await started.wait()
            asyncio.get_running_loop().call_later(0.1, taken.set)
            assert (await task).content == b"content"


async def test_what_was_written_is_committed_with_the_answer(tmp_path: Path) -> None:
    """A session that has written keeps its transaction until the status is known."""
    async with running(tmp_path, LONG) as site:
        assert (await site.get("/counted")).status == 200
        assert (await site.get("/page")).content == b"1"


async def test_what_was_written_is_undone_with_the_answer(tmp_path: Path) -> None:
    """So a download that fails does not count."""
    async with running(tmp_path, 0.05, STALLED) as site:
        assert (await site.get("/counted")).status == 503
        assert (await site.get("/page")).content == b"0"


def test_unknown_limit() -> None:
    """A limit of no time is refused."""
    with pytest.raises(ValueError, match="first_byte_seconds"):
        DownloadConfig(first_byte_seconds=0)
