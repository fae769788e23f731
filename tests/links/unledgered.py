"""An application whose models have no ledger, and its database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from litestar import delete, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, StorageBackend, StoredObject, storages
from litestar_filestore.ledger.table import LEDGER_SWITCH
from tests.links.conftest import Serve, Served

__all__ = ("Note", "World", "running")


class Base(DeclarativeBase):
    metadata = sa.MetaData(info={LEDGER_SWITCH: False})


class Note(Base):
    __tablename__ = "unledgered_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))


@post("/form")
async def by_form(data: MultipartBody[FileObject], session: NamedDependency[AsyncSession]) -> int:
    """Put an upload into a row."""
    return await _add(session, data)


@post("/form/kept")
async def keep(data: MultipartBody[FileObject]) -> str:
    """Keep an upload without a row, and return a reference to it."""
    await storages.keep(data)
    return storages.reference_for(data)


@post("/form/unwanted", status_code=400)
async def drop(data: MultipartBody[FileObject]) -> str:
    """Do nothing with an upload."""
    return data.filename


@post("/reference")
async def by_reference(data: JSONBody[dict[str, str]], session: NamedDependency[AsyncSession]) -> int:
    """Put a referred file into a row, and refuse to commit if the client asks for it."""
    identity = await _add(session, storages.file_for(data["file"]))
    if "refuse" in data:
        raise RuntimeError(data["refuse"])
    return identity


@delete("/{identity:int}", status_code=204)
async def remove(identity: FromPath[int], session: NamedDependency[AsyncSession]) -> None:
    """Delete a row."""
    await session.delete(await session.get_one(Note, identity))


async def _add(session: AsyncSession, file: FileObject) -> int:
    session.add(note := Note(file=file))
    await session.flush()
    return note.id


class World(NamedTuple):
    """A running application without a ledger."""

    served: Served
    engine: sa.Engine

    def put(self, link: str, content: bytes = b"abc") -> Any:
        """Upload through a link."""
        return self.served.client.put(link, content=content)

    def take(self, reference: str, **more: str) -> Any:
        """Put a referred file into a row."""
        return self.served.client.post("/reference", json={"file": reference, **more})

    def contents(self) -> list[bytes]:
        """Return what the files of the rows hold."""
        with Session(self.engine) as session:
            return [note.file.get_content() for note in session.scalars(sa.select(Note).order_by(Note.id))]


@contextmanager
def running(serve: Serve, backend: StorageBackend, folder: Path, **options: Any) -> Iterator[World]:
    """Start the application on a database in `folder`."""
    url = f"sqlite:///{folder / 'notes.sqlite'}"
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    async_engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    makers = async_sessionmaker(async_engine)

    async def provide() -> AsyncIterator[AsyncSession]:
        async with makers() as session, session.begin():
            yield session

    async def dispose() -> None:
        await async_engine.dispose()

    served = serve(
        backend,
        [by_form, keep, drop, by_reference, remove],
        dependencies={"session": Provide(provide)},
        on_shutdown=[dispose],
        **options,
    )
    yield World(served, engine)
    engine.dispose()
