"""A link to upload works once as long as it lives, whatever has become of what came through it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from litestar import delete, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, MemoryBackend, StorageBackend, StoredObject, storages
from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.core.new_file import UsedLink
from litestar_filestore.errors import ObjectExistsError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.sweep import SweepConfig, sweep
from litestar_filestore.tracking.marks import mark_used
from tests.links.conftest import Serve, Served
from tests.links.unledgered import running

DAY = 24 * 3600
WEEK = 7 * DAY


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "once_paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))


@post("/reference")
async def by_reference(data: JSONBody[dict[str, str]], session: NamedDependency[AsyncSession]) -> int:
    """Put a referred file into a row."""
    session.add(paper := Paper(file=storages.file_for(data["file"])))
    await session.flush()
    return paper.id


@post("/kept")
async def keep(data: MultipartBody[FileObject]) -> str:
    """Keep an upload without a row, and return a reference to it."""
    await storages.keep(data)
    return storages.reference_for(data)


@delete("/{identity:int}", status_code=204)
async def remove(identity: FromPath[int], session: NamedDependency[AsyncSession]) -> None:
    """Delete a row."""
    await session.delete(await session.get_one(Paper, identity))


class Ledgered(NamedTuple):
    """A running application with a ledger."""

    served: Served
    engine: sa.Engine

    def take(self, reference: str) -> Any:
        """Put a referred file into a row."""
        return self.served.client.post("/reference", json={"file": reference})

    def sweep(self) -> None:
        """Delete what is due, and forget at once what is deleted."""
        for _ in range(2):
            sweep(self.engine, Base.metadata.tables["filestore_object"], storages, SweepConfig(tombstone_seconds=0))

    def entries(self) -> list[tuple[str, str]]:
        """Return backends and states of all entries."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("SELECT backend, state FROM filestore_object"))]


@pytest.fixture
def ledgered(serve: Serve, memory: MemoryBackend, tmp_path: Path) -> Iterator[Ledgered]:
    """An application with a ledger."""
    url = f"sqlite:///{tmp_path / 'papers.sqlite'}"
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
        memory,
        [by_reference, keep, remove],
        filestore={"ledger": LedgerConfig([async_engine], run_sweeper=False)},
        dependencies={"session": Provide(provide)},
        on_shutdown=[dispose],
    )
    yield Ledgered(served, engine)
    engine.dispose()


def link(**wish: Any) -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject("documents", "a.txt"), for_upload=True, **wish)


def used_links(driver: MemoryDriver) -> list[str]:
    """Return the names of the marks of links in a store."""
    return [info.key.rpartition("/")[2] for info in driver.list(".filestore/links")]


def test_link_works_once_although_its_object_is_forgotten(ledgered: Ledgered, memory: MemoryBackend) -> None:
    """With a ledger: after upload, row, delete, sweep and the end of the tombstone the link is still used up."""
    url, client = link(expires_in=WEEK), ledgered.served.client
    identity = ledgered.take(client.put(url, content=b"abc").json()["reference"]).json()
    assert client.delete(f"/{identity}").status_code == 204
    ledgered.sweep()
    assert ledgered.entries() == [("", "used")]
    assert (client.put(url, content=b"again").status_code, list(memory.list())) == (409, [])


def test_ledger_forgets_a_link_that_has_ended(ledgered: Ledgered, memory: MemoryBackend) -> None:
    """What nobody can use any more takes no room."""
    ledgered.served.client.put(link(expires_in=60), content=b"abc")
    with ledgered.engine.begin() as connection:
        connection.execute(sa.text("UPDATE filestore_object SET not_before = 0"))
    ledgered.sweep()
    assert ledgered.entries() == []


def test_two_links_to_one_pinned_key_are_two_links(ledgered: Ledgered) -> None:
    """A link is used up by its own upload, not by that of another link to the same key."""
    pinned = FileObject("documents", "a.txt", "inbox/a.txt")
    urls = [storages.url_for(pinned, for_upload=True, expires_in=seconds) for seconds in (100, 200)]
    client = ledgered.served.client
    identity = ledgered.take(client.put(urls[0], content=b"abc").json()["reference"]).json()
    client.delete(f"/{identity}")
    ledgered.sweep()
    assert [client.put(url, content=b"abc").status_code for url in urls] == [409, 201]


def test_link_works_once_without_a_ledger(serve: Serve, backend: StorageBackend, tmp_path: Path) -> None:
    """On every kind of store a link is used up although its object was deleted with its row."""
    with running(serve, backend, tmp_path) as world:
        url = link()
        identity = world.take(world.put(url).json()["reference"]).json()
        assert world.served.client.delete(f"/{identity}").status_code == 204
        assert (world.put(url).status_code, list(backend.list())) == (409, [])


def test_marks_of_links_that_ended_are_deleted() -> None:
    """Without a ledger each process looks once a day for what nobody needs any more."""
    driver, now = MemoryDriver(), int(time.time())
    mark_used(StorageBackend("documents", driver=driver), UsedLink(digest="old", expires_at=now - 3 * DAY))
    assert used_links(driver) == ["old"]
    other_process = StorageBackend("documents", driver=driver)
    for digest, end in (("living", now + WEEK), ("just ended", now - 60)):
        mark_used(other_process, UsedLink(digest=digest, expires_at=end))
    assert sorted(used_links(driver)) == ["just ended", "living"]


def test_mark_holds_in_every_process() -> None:
    """Whoever else uses the same store is refused."""
    driver, used = MemoryDriver(), UsedLink(digest="a", expires_at=int(time.time()) + 60)
    mark_used(StorageBackend("documents", driver=driver, prefix="x"), used)
    with pytest.raises(ObjectExistsError):
        mark_used(StorageBackend("documents", driver=driver, prefix="x"), used)


# -- what is kept, with a ledger


def test_old_reference_does_not_take_a_kept_file(ledgered: Ledgered, memory: MemoryBackend) -> None:
    """Whoever uploaded a file that the application keeps cannot have it deleted with a row."""
    reference = ledgered.served.client.post("/kept", files={"data": ("a.txt", b"abc")}).text
    answer = ledgered.take(reference)
    assert answer.status_code == 409, answer.text
    assert (ledgered.entries(), len(list(memory.list()))) == ([("documents", "kept")], 1)


def test_kept_file_goes_into_a_row_by_a_reference_for_it(ledgered: Ledgered) -> None:
    """The application can let clients put into rows what it keeps, once."""
    kept = storages.file_for(ledgered.served.client.post("/kept", files={"data": ("a.txt", b"abc")}).text)
    reference = storages.reference_for(kept, kept=True)
    assert [ledgered.take(reference).status_code for _ in range(2)] == [201, 409]


def test_program_puts_a_kept_file_into_a_row(ledgered: Ledgered) -> None:
    """What the application keeps it can put into a row itself."""
    kept = storages.file_for(ledgered.served.client.post("/kept", files={"data": ("a.txt", b"abc")}).text)
    with Session(ledgered.engine) as session, session.begin():
        session.add(Paper(file=FileObject("documents", kept.filename, kept.path)))
    assert ledgered.entries() == [("documents", "linked")]
