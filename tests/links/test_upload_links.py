"""A link to upload takes one body of bounded size, and then no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from litestar import post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, LinkConfig, MemoryBackend, StorageBackend, StoredObject, storages
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.sweep import SweepConfig, sweep
from tests.links.conftest import Serve, put


class Base(DeclarativeBase):
    pass


class Letter(Base):
    __tablename__ = "link_letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))


def link(backend: StorageBackend, filename: str = "report.pdf", **wish: Any) -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject(backend, filename), for_upload=True, **wish)


def keys(backend: StorageBackend) -> list[str]:
    """Return the keys of what is stored."""
    return [info.key for info in backend.list()]


def test_put_stores_the_body(backend: StorageBackend, serve: Serve) -> None:
    """The body becomes an object under a key of the server's, with the name that was signed."""
    client = serve(backend).client
    answer = client.put(link(backend), content=b"%PDF-1.7 ...", headers={"content-type": "application/pdf"})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["filename"], told["content_type"], told["size"]) == ("report.pdf", "application/pdf", 12)
    assert client.get(told["url"]).content == b"%PDF-1.7 ..."
    assert [backend.get_content(key) for key in keys(backend)] == [b"%PDF-1.7 ..."]
    assert "report" not in keys(backend)[0]


def test_second_upload_is_refused(backend: StorageBackend, serve: Serve) -> None:
    """A link that was used is used up, also for the same bytes; the first ones stay."""
    client = serve(backend).client
    url = link(backend)
    statuses = [client.put(url, content=content).status_code for content in (b"first", b"other", b"first")]
    assert statuses == [201, 409, 409]
    assert [backend.get_content(key) for key in keys(backend)] == [b"first"]


def test_one_of_many_uploads_at_a_time_is_accepted(memory: MemoryBackend, serve: Serve) -> None:
    """Who is second is refused, however close behind."""
    client = serve(memory).client
    url = link(memory)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(each.status_code for each in pool.map(lambda n: client.put(url, content=b"x" * n), range(8)))
    assert statuses == [201] + [409] * 7
    assert len(keys(memory)) == 1


@pytest.mark.parametrize("size", [0, 1, 10])
def test_upload_within_the_limit_is_taken(memory: MemoryBackend, serve: Serve, size: int) -> None:
    """The limit itself is within it."""
    assert serve(memory).client.put(link(memory, max_bytes=10), content=b"x" * size).status_code == 201


def test_upload_above_the_limit_is_413(backend: StorageBackend, serve: Serve) -> None:
    """A longer body is refused, and nothing of it stays."""
    answer = serve(backend).client.put(link(backend, max_bytes=10), content=b"x" * 11)
    assert (answer.status_code, keys(backend)) == (413, [])


def test_length_that_is_not_told_does_not_help(memory: MemoryBackend, serve: Serve) -> None:
    """A body in chunks is counted while it is read."""
    answer = serve(memory).client.put(link(memory, max_bytes=10), content=iter([b"x" * 6, b"x" * 6]))
    assert (answer.status_code, keys(memory)) == (413, [])


def test_limit_of_the_backend_holds(serve: Serve) -> None:
    """A link cannot allow more than the backend does."""
    backend = MemoryBackend("documents", max_bytes=5)
    assert serve(backend).client.put(link(backend, max_bytes=10), content=b"x" * 6).status_code == 413


def test_default_limit_is_the_configured_one(memory: MemoryBackend, serve: Serve) -> None:
    """Where nobody says anything, the application's limit holds."""
    client = serve(memory, links=LinkConfig(max_upload_bytes=3)).client
    assert client.put(link(memory), content=b"abcd").status_code == 413


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_link_to_upload_reads_nothing(memory: MemoryBackend, serve: Serve, method: str) -> None:
    """What was uploaded cannot be had through the link it was uploaded with."""
    client = serve(memory).client
    url = link(memory)
    client.put(url, content=b"secret")
    answer = client.request(method, url)
    assert (answer.status_code, b"secret" in answer.content) == (403, False)


def test_link_to_download_takes_nothing(memory: MemoryBackend, serve: Serve) -> None:
    """A link to read one object does not write it."""
    file = put(memory, b"old")
    answer = serve(memory).client.put(storages.url_for(file), content=b"new")
    assert (answer.status_code, file.get_content()) == (403, b"old")


def test_link_to_upload_ends(memory: MemoryBackend, serve: Serve) -> None:
    """After its life a link takes nothing."""
    served = serve(memory)
    url = link(memory, expires_in=60)
    served.clock.now += 60
    assert (served.client.put(url, content=b"late").status_code, keys(memory)) == (403, [])


def test_two_links_are_two_uploads(memory: MemoryBackend, serve: Serve) -> None:
    """Links made at the same time, for the same name, lead to different places."""
    client = serve(memory).client
    assert [client.put(url, content=b"x").status_code for url in {link(memory), link(memory)}] == [201, 201]


def test_key_can_be_pinned(memory: MemoryBackend, serve: Serve) -> None:
    """An upload goes to the key that the application has chosen, and never over what lies there."""
    client = serve(memory).client
    pinned = FileObject(memory, "a.txt", "inbox/a.txt")
    urls = [storages.url_for(pinned, for_upload=True) for _ in range(2)]
    assert [client.put(url, content=b"abc").status_code for url in urls] == [201, 409]
    assert keys(memory) == ["inbox/a.txt"]


def test_sign_for_upload_falls_to_the_application(memory: MemoryBackend, serve: Serve) -> None:
    """`sign` for a store that cannot sign puts where the file says."""
    client = serve(memory).client
    file = FileObject(memory, "a.txt")
    url = file.sign(for_upload=True)
    assert (client.put(url, content=b"abc").status_code, file.get_content()) == (201, b"abc")


@pytest.mark.parametrize("name", ["../../x.txt", 'a"\r\nX: 1.txt', "\u202etxt.exe", "a" * 1000 + ".txt", "x\0y.txt"])
def test_hostile_name_is_told_safely(memory: MemoryBackend, serve: Serve, name: str) -> None:
    """The name of an upload is made safe when the link is made."""
    told = serve(memory).client.put(link(memory, name), content=b"abc").json()["filename"]
    assert len(told.encode()) <= 200
    assert told.isprintable()
    assert not set(told) & set('/\\"')


@post("/letters")
async def write(data: JSONBody[dict[str, Any]], session: NamedDependency[AsyncSession]) -> int:
    """Make a row of a referred file."""
    letter = Letter(file=storages.file_for(data["file"]))
    session.add(letter)
    await session.flush()
    return letter.id


@dataclass
class LetterBody:
    file: FileObject


@post("/decoded")
async def decoded(data: JSONBody[LetterBody], session: NamedDependency[AsyncSession]) -> None:
    """Make a row of what the client has chosen."""
    session.add(Letter(file=data.file))
    await session.flush()


@post("/wrong-backend")
async def wrong_backend(session: NamedDependency[AsyncSession]) -> None:
    """Make a row of a file that lies elsewhere."""
    session.add(Letter(file=FileObject(MemoryBackend("elsewhere"), "a.txt", content=b"x").save()))
    await session.flush()


@post("/without-content")
async def without_content(session: NamedDependency[AsyncSession]) -> None:
    """Make a row of nothing."""
    session.add(Letter(file=FileObject("documents", "a.txt")))
    await session.flush()


@pytest.fixture
def ledgered(serve: Serve, memory: MemoryBackend, tmp_path: Path) -> Any:
    """An application with a ledger, and its database."""
    url = f"sqlite:///{tmp_path / 'letters.sqlite'}"
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    async_engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    makers = async_sessionmaker(async_engine)

    async def provide() -> Any:
        async with makers() as session, session.begin():
            yield session

    async def dispose() -> None:
        await async_engine.dispose()

    served = serve(
        memory,
        [write, decoded, wrong_backend, without_content],
        filestore={"ledger": LedgerConfig([async_engine], run_sweeper=False)},
        dependencies={"session": Provide(provide)},
        on_shutdown=[dispose],
    )
    yield served, engine
    engine.dispose()


def states(engine: sa.Engine) -> list[str]:
    """Return the states of all objects in the ledger."""
    with engine.connect() as connection:
        return [
            str(row[0]) for row in connection.execute(sa.text("SELECT state FROM filestore_object WHERE backend <> ''"))
        ]


def test_upload_waits_in_the_ledger_for_its_row(ledgered: Any, memory: MemoryBackend) -> None:
    """An upload is staged; the reference that was answered puts it into a row."""
    served, engine = ledgered
    told = served.client.put(link(memory, "a.txt"), content=b"abc").json()
    before = states(engine)
    answer = served.client.post("/letters", json={"file": told["reference"]})
    assert answer.status_code == 201, answer.text
    with Session(engine) as session:
        file = session.get_one(Letter, answer.json()).file
    assert (before, states(engine)) == (["staged"], ["linked"])
    assert (file.filename, file.size, file.get_content()) == ("a.txt", 3, b"abc")


def test_reference_puts_a_file_into_one_row(ledgered: Any, memory: MemoryBackend) -> None:
    """The second row is refused: a file has one owner."""
    served, _ = ledgered
    reference = served.client.put(link(memory), content=b"abc").json()["reference"]
    statuses = [served.client.post("/letters", json={"file": reference}).status_code for _ in range(2)]
    assert statuses == [201, 409]


def test_reference_of_another_backend_is_refused(ledgered: Any, memory: MemoryBackend) -> None:
    """Which reference a client sends is no mistake of the program, and no row takes a file from elsewhere."""
    served, engine = ledgered
    other = MemoryBackend("photos")
    storages.register_backend(other)
    try:
        reference = storages.reference_for(put(other))
        answer = served.client.post("/decoded", json={"file": reference})
    finally:
        storages.unregister_backend("photos")
    assert answer.status_code == 400, answer.text
    assert "photos" not in answer.text
    assert states(engine) == []


def test_reference_of_a_file_that_is_gone_is_404(ledgered: Any, memory: MemoryBackend) -> None:
    """A file that was deleted meanwhile cannot get into a row."""
    served, _ = ledgered
    reference = storages.reference_for(FileObject(memory, "a.txt", to_filename="swept", size=3))
    assert served.client.post("/decoded", json={"file": reference}).status_code == 404


@pytest.mark.parametrize("mistake", ["wrong-backend", "without-content"])
def test_file_that_the_program_made_wrongly_is_500(ledgered: Any, mistake: str) -> None:
    """No client can mend what the program puts into a row."""
    served, engine = ledgered
    assert served.client.post(f"/{mistake}").status_code == 500
    assert states(engine) == []


def test_second_upload_is_refused_by_the_ledger(ledgered: Any, memory: MemoryBackend) -> None:
    """The ledger remembers the key, also when the object has gone."""
    served, engine = ledgered
    url = link(memory)
    first = served.client.put(url, content=b"abc").status_code
    memory.delete(keys(memory))
    assert (first, served.client.put(url, content=b"other").status_code) == (201, 409)
    assert (keys(memory), states(engine)) == ([], ["staged"])


def test_upload_that_no_row_takes_is_swept(ledgered: Any, memory: MemoryBackend) -> None:
    """When the lease has run out, nothing is left."""
    served, engine = ledgered
    served.client.put(link(memory), content=b"abc")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE filestore_object SET not_before = 0"))
    sweep(engine, Base.metadata.tables["filestore_object"], storages, SweepConfig())
    assert keys(memory) == []


def test_upload_that_is_too_long_leaves_nothing(ledgered: Any, memory: MemoryBackend) -> None:
    """Neither an object nor a lease stays of what was refused."""
    served, engine = ledgered
    assert served.client.put(link(memory, max_bytes=3), content=b"abcd").status_code == 413
    assert (keys(memory), set(states(engine)) <= {"doomed"}) == ([], True)


def test_public_url_leads_to_the_upload(memory: MemoryBackend, serve: Serve) -> None:
    """Links to upload begin with the configured URL as well."""
    served = serve(memory, links=LinkConfig(public_url="https://files.example.com"))
    url = link(memory)
    assert url.startswith("https://files.example.com/filestore/")
    assert served.client.put(urlsplit(url).path, content=b"abc").status_code == 201


def test_part_of_a_file_is_refused(backend: StorageBackend, serve: Serve) -> None:
    """A piece of a file is not stored as the file, and does not use up the link."""
    client = serve(backend).client
    url = link(backend)
    statuses = [
        client.put(url, content=b"abc", headers=each).status_code for each in ({"content-range": "bytes 0-2/9"}, {})
    ]
    assert statuses == [400, 201]
