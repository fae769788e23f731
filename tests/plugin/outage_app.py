"""The application of these tests, in the test's process or behind a server in others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from litestar import Litestar, get, post
from litestar.params import FromPath, MultipartBody
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    ObstoreBackend,
    StorageBackend,
    Storages,
    StoredObject,
)
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.ledger.ledger_config import Database, LedgerConfig

__all__ = ("BUCKET", "Base", "Paper", "create_app", "create_app_from_environment", "engine_for", "s3_backend")

T = TypeVar("T")

BUCKET = "papers"


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "outage_paper"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("outages"))


@dataclass
class PaperForm:
    file: Annotated[FileObject, Paper.file]


def s3_backend(endpoint: str, **options: Any) -> ObstoreBackend:
    """Return a bucket behind an address, whose client is as patient as it is by default."""
    return ObstoreBackend(
        "outages",
        f"s3://{BUCKET}/",
        aws_endpoint=endpoint,
        aws_access_key_id="anybody",
        aws_secret_access_key="anything",
        client_options={"allow_http": True},
        **options,
    )


def engine_for(url: str, **options: Any) -> Database:
    """Return an engine of the kind that a URL's driver needs."""
    # Otherwise the first statement after an outage meets a connection from before.
    options = {"pool_pre_ping": True, **options}
    is_async = "+asyncpg" in url or "+aiosqlite" in url
    return create_async_engine(url, **options) if is_async else sa.create_engine(url, **options)


async def with_session(engine: Database, work: Callable[[Session], T]) -> T:
    """Do `work` in a transaction, and return what it returns."""
    if isinstance(engine, AsyncEngine):
        async with AsyncSession(engine) as session, session.begin():
            return await session.run_sync(work)
    return await run_blocking(partial(_in_thread, engine, work))


def _in_thread(engine: sa.Engine, work: Callable[[Session], T]) -> T:
    with Session(engine) as session, session.begin():
        return work(session)


def create_app(backend: StorageBackend, engine: Database, **options: Any) -> Litestar:
    """Make the application: it answers, takes uploads, and takes files out of rows."""

    @get("/ping")
    async def ping() -> str:
        return "pong"

    @post("/papers")
    async def add(data: MultipartBody[PaperForm]) -> int:
        def work(session: Session) -> int:
            session.add(paper := Paper(file=data.file))
            session.flush()
            return paper.id

        return await with_session(engine, work)

    @post("/kept")
    async def keep(data: MultipartBody[PaperForm], storages: Storages) -> None:
        await storages.keep(data.file)

    @post("/papers/{number:int}/clear")
    async def clear(number: FromPath[int]) -> None:
        def work(session: Session) -> None:
            session.get_one(Paper, number).file = None

        await with_session(engine, work)

    async def dispose() -> None:
        # As Advanced Alchemy does at the end.
        await engine.dispose() if isinstance(engine, AsyncEngine) else engine.dispose()

    ledger = LedgerConfig(databases=[engine], **{"sweep_interval_seconds": 0.2, **options})
    config = FilestoreConfig([backend], ledger=ledger)
    return Litestar(
        [ping, add, keep, clear],
        plugins=[FilestorePlugin(config)],
        openapi_config=None,
        logging_config=None,
        on_shutdown=[dispose],
    )


def create_app_from_environment() -> Litestar:
    """Make it in a server's process."""
    return create_app(s3_backend(os.environ["OUTAGES_STORE"]), engine_for(os.environ["OUTAGES_DATABASE"]))
