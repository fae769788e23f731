"""Mapped classes with files, in SQLite, behind Advanced Alchemy and behind plain SQLAlchemy of both kinds."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from litestar_filestore import (
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    StorageBackend,
    StoredObject,
    storages,
)
from litestar_filestore.ledger.ledger_config import LedgerConfig
from tests.servers.mariadb import MariadbServer
from tests.servers.postgres import PostgresServer

__all__ = ("Base", "Letter", "Note", "Paper", "Serve", "Site")


class Base(DeclarativeBase):
    """The classes of these tests."""


class Paper(Base):
    """A row with a file that may be missing, and with a list of files."""

    __tablename__ = "router_paper"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(40), default="ann")
    file: Mapped[FileObject | None] = mapped_column(StoredObject("documents"))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject("documents", multiple=True))


class Note(Base):
    """A row whose primary key has two parts, of other types."""

    __tablename__ = "router_note"

    room: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))


def by_type(file: FileObject) -> str:
    """Return a key template that begins with the verified media type."""
    return f"{(file.content_type or 'unknown').replace('/', '-')}/{{random}}{{ext}}"


class Letter(Base):
    """A row whose columns make the key of each file."""

    __tablename__ = "router_letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("documents", key=by_type))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject("documents", multiple=True, key=by_type))


@dataclass
class Site:
    """A running application and its database."""

    client: TestClient[Litestar]
    app: Litestar
    backend: StorageBackend
    engine: sa.Engine

    def add(self, **values: Any) -> int:
        """Add a paper, with its files, and return its primary key."""
        storages.register_backend(self.backend)
        with Session(self.engine) as session, session.begin():
            paper = Paper(**values)
            session.add(paper)
            session.flush()
            return paper.id

    def paper(self, id_: int) -> Paper:
        """Return a paper as the database has it now."""
        with Session(self.engine, expire_on_commit=False) as session:
            return session.get_one(Paper, id_)


Serve = Callable[..., Site]


@pytest.fixture(scope="module")
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of a database that the tests of a module have for themselves."""
    name = f"router_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    return postgres_server.url("psycopg", name)


@pytest.fixture(scope="module")
def mariadb_url(mariadb_server: MariadbServer) -> str:
    """URL of a database that the tests of a module have for themselves."""
    name = f"router_{uuid.uuid4().hex}"
    mariadb_server.create_database(name)
    return mariadb_server.url("pymysql", name)


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Start an application with routers; it is stopped after the test."""
    with ExitStack() as stack:

        def start(
            *routers: Router,
            kind: str = "advanced-alchemy",
            backend: StorageBackend | None = None,
            database: str = "sqlite",
            prepare: Callable[[sa.Engine], object] | None = None,
            **options: Any,
        ) -> Site:
            url = f"sqlite:///{tmp_path / 'rows.sqlite'}"
            if database != "sqlite":
                url = request.getfixturevalue(f"{database}_url")
            engine = sa.create_engine(url)
            stack.callback(engine.dispose)
            Base.metadata.drop_all(engine)
            Base.metadata.create_all(engine)
            backend = backend or MemoryBackend("documents")
            plugins, more = wiring(kind, url, stack, prepare)
            filestore = {"ledger": more.pop("ledger"), **options.pop("filestore", {})}
            config = FilestoreConfig([backend], **filestore)
            app = Litestar([*routers], plugins=[*plugins, FilestorePlugin(config)], **more, **options)
            return Site(stack.enter_context(TestClient(app)), app, backend, engine)

        yield start


def wiring(
    kind: str, url: str, stack: ExitStack, prepare: Callable[[sa.Engine], object] | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Return the plugins and options that give handlers a session named ``db_session``."""
    async_url = url.replace("sqlite:", "sqlite+aiosqlite:").replace("psycopg:", "asyncpg:")
    async_url = async_url.replace("pymysql:", "aiomysql:")
    if kind == "advanced-alchemy":
        config = SQLAlchemyAsyncConfig(connection_string=async_url, before_send_handler="autocommit")
        if prepare is not None:
            prepare(config.get_engine().sync_engine)

        async def dispose_again() -> None:
            # Advanced Alchemy 1.12 disposes of the engine of the first application of a process only.
            await config.get_engine().dispose()

        return [SQLAlchemyPlugin(config)], {"ledger": LedgerConfig(run_sweeper=False), "on_shutdown": [dispose_again]}
    if kind == "async":
        engine = create_async_engine(async_url)
        makers = async_sessionmaker(engine)

        async def provide() -> AsyncGenerator[AsyncSession]:
            async with makers() as session, session.begin():
                yield session

        async def dispose() -> None:
            await engine.dispose()

        options = {"dependencies": {"db_session": Provide(provide)}, "on_shutdown": [dispose]}
        return [], {**options, "ledger": LedgerConfig([engine], run_sweeper=False)}
    sync_engine = sa.create_engine(url)
    stack.callback(sync_engine.dispose)
    sync_makers = sessionmaker(sync_engine)

    def provide_sync() -> Generator[Session]:
        with sync_makers() as session, session.begin():
            yield session

    options = {"dependencies": {"db_session": Provide(provide_sync)}}
    return [], {**options, "ledger": LedgerConfig([sync_engine], run_sweeper=False)}
