"""Events: after the commit only, of what has changed in the end, and free for those who do not watch."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from litestar.events import listener
from litestar.testing import TestClient
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, FilestorePlugin, MemoryBackend, storages
from litestar_filestore.core.backend import Guard, WatchedGuard
from litestar_filestore.core.watching import watched_by, watchers
from litestar_filestore.errors import BackendUnavailableError, ObjectNotFoundError
from litestar_filestore.events import (
    Event,
    FileDoomed,
    FileLinked,
    LedgerCounted,
    OperationEnded,
    SweepEnded,
    UploadEnded,
)
from litestar_filestore.ledger import State, fsck, ledger_of
from litestar_filestore.testing import Fault, FaultyBackend
from tests.metrics.watched_app import Base, Document, make_app

E = TypeVar("E")

NOT_LINKED = {str(state) for state in State} - {"linked"}
TEXT = {"file": ("a.txt", b"hello", "text/plain")}
IMAGE = {"file": ("a.png", b"\x89PNG\r\n\x1a\n", "image/png")}


class Watch:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Remember."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a class."""
        return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind: type[E], fits: Callable[[E], bool]) -> E:
        """Wait for an event."""
        deadline = time.monotonic() + 60
        while not (found := [event for event in self.of(kind) if fits(event)]):
            assert time.monotonic() < deadline, self.events
            time.sleep(0.01)
        return found[0]


@pytest.fixture
def watch() -> Watch:
    """Return a watcher."""
    return Watch()


@pytest.fixture
def documents() -> MemoryBackend:
    """Return the backend of the application."""
    return MemoryBackend("documents")


def test_upload_that_is_committed(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """The upload, the operation of the store, and after the commit the row; in this order."""
    with TestClient(make_app(tmp_path, documents, [watch])) as client:
        assert client.post("/", files=TEXT).status_code == 201
    upload, linked = watch.of(UploadEnded), watch.of(FileLinked)
    assert [(each.backend, each.transport, each.outcome, each.size) for each in upload] == [
        ("documents", "form", "ok", 5)
    ]
    assert upload[0].seconds is not None
    assert [(each.backend, each.file.filename, each.file.size) for each in linked] == [("documents", "a.txt", 5)]
    told = [type(each) for each in watch.events]
    assert told.index(OperationEnded) < told.index(UploadEnded) < told.index(FileLinked)
    assert ("put", "ok") in [(each.operation, each.outcome) for each in watch.of(OperationEnded)]


def test_upload_that_is_rolled_back(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """A row that was flushed and never committed is no news."""
    with TestClient(make_app(tmp_path, documents, [watch])) as client:
        assert client.post("/undone", files=TEXT).status_code == 400
    assert [each.outcome for each in watch.of(UploadEnded)] == ["ok"]
    assert not watch.of(FileLinked)
    assert not watch.of(FileDoomed)


def test_uploads_that_fail(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """A rule refuses, a limit refuses, a store fails."""
    faulty = FaultyBackend(documents, [Fault("put", BackendUnavailableError("down"))])
    with TestClient(make_app(tmp_path, faulty, [watch])) as client:
        assert client.post("/", files=IMAGE).status_code == 415
        assert client.post("/", files=TEXT).status_code == 503
    assert [(each.outcome, each.size) for each in watch.of(UploadEnded)] == [("refused", 0), ("failed", 0)]
    assert ("put", "failed") in [(each.operation, each.outcome) for each in watch.of(OperationEnded)]


def test_other_ways_of_uploading(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """A body, an upload link, and a resumable upload."""
    with TestClient(make_app(tmp_path, documents, [watch])) as client:
        assert client.post("/raw", content=b"hello").status_code == 201
        link = storages.url_for(FileObject("documents", "a.txt"), for_upload=True)
        assert client.put(link, content=b"hello!").status_code == 201
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "2", "Content-Type": "application/offset+octet-stream"}
        assert client.post("/tus", content=b"hi", headers=headers).status_code == 201
    assert [(each.transport, each.outcome, each.size) for each in watch.of(UploadEnded)] == [
        ("body", "ok", 5),
        ("link", "ok", 6),
        ("resumable", "ok", 2),
    ]


def test_replaced_file_is_swept(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """The old file is doomed, the sweep that deletes it is told, and so is what the ledger holds."""
    with TestClient(make_app(tmp_path, documents, [watch])) as client:
        row = client.post("/", files=TEXT).json()
        assert client.put(f"/{row}", files=TEXT).status_code == 200
        sweep = watch.wait_for(SweepEnded, lambda each: bool(each.deleted))
        counted = watch.wait_for(LedgerCounted, lambda each: bool(each.states))
    first, second = watch.of(FileLinked)
    assert [each.file for each in watch.of(FileDoomed)] == [first.file]
    assert second.file != first.file
    assert (sweep.backend, sweep.deleted, sweep.failed) == ("documents", 1, 0)
    assert sweep.database == counted.database
    assert counted.states.keys() == {("documents", each) for each in NOT_LINKED}
    assert counted.lag_seconds["documents"] >= 0


def test_listeners_of_litestar(tmp_path: Path, documents: MemoryBackend) -> None:
    """Litestar's emitter calls listeners after the commit, on its own loop; they need no watcher."""
    heard: list[tuple[str, str]] = []
    done = threading.Event()

    @listener("filestore.linked", "filestore.doomed")
    async def hear(event: FileLinked | FileDoomed) -> None:
        heard.append((type(event).__name__, event.file.filename))
        if len(heard) == 3:
            done.set()

    with TestClient(make_app(tmp_path, documents, listeners=[hear])) as client:
        row = client.post("/", files=TEXT).json()
        assert client.post("/undone", files=TEXT).status_code == 400
        client.put(f"/{row}", files={"file": ("b.txt", b"other", "text/plain")})
        assert done.wait(60)
    assert sorted(heard) == [("FileDoomed", "a.txt"), ("FileLinked", "a.txt"), ("FileLinked", "b.txt")]


def test_nothing_is_measured_unless_somebody_watches(tmp_path: Path, documents: MemoryBackend) -> None:
    """Without a watcher and a listener, no class that tells is in use."""
    app = make_app(tmp_path, documents)
    with TestClient(app):
        assert not watchers
        assert documents.guards is Guard
    with TestClient(make_app(tmp_path, documents, [print])):
        assert watchers
        assert documents.guards is WatchedGuard
    assert not watchers
    assert documents.guards is Guard
    assert app.plugins.get(FilestorePlugin).config.watchers == ()


def test_other_applications_are_not_told(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> None:
    """Of two applications in one process, each hears of its own backends."""
    other = MemoryBackend("other")
    with (
        TestClient(make_app(tmp_path, documents)) as client,
        TestClient(make_app(tmp_path, other, [watch])),
    ):
        assert client.post("/", files=TEXT).status_code == 201
    assert not watch.of(FileLinked)
    assert not watch.of(UploadEnded)


def test_a_watcher_that_fails_breaks_nothing(
    tmp_path: Path, documents: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """The row is committed, and the log has the error."""

    def fail(event: Event) -> None:
        raise RuntimeError("no disk for metrics")

    with TestClient(make_app(tmp_path, documents, [fail])) as client:
        assert client.post("/", files=TEXT).status_code == 201
    assert "A watcher failed on FileLinked" in caplog.text


# -- sessions without an application


@pytest.fixture
def session(tmp_path: Path, documents: MemoryBackend, watch: Watch) -> Iterator[Session]:
    """Return a session that somebody watches, on a database with a ledger."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    Base.metadata.create_all(engine)
    storages.register_backend(documents)
    with watched_by(watch), Session(engine) as session:
        yield session
    storages.unregister_backend("documents")
    engine.dispose()


def text(name: str = "a.txt") -> FileObject:
    """Make a file to store."""
    return FileObject("documents", name, content=b"hello")


def test_savepoints(session: Session, watch: Watch) -> None:
    """What a savepoint rolls back is no news, and nothing is told before the outermost commit."""
    session.add(Document(file=text()))
    with session.begin_nested():
        session.add(Document(file=text("kept.txt")))
    savepoint = session.begin_nested()
    session.add(Document(file=text("undone.txt")))
    session.flush()
    savepoint.rollback()
    assert watch.events == []
    session.commit()
    assert sorted(each.file.filename for each in watch.of(FileLinked)) == ["a.txt", "kept.txt"]


def test_file_that_came_and_went(session: Session, watch: Watch) -> None:
    """A file that no committed row ever held is no news, and one that moved to another row neither."""
    passing, staying = Document(file=text()), Document(file=text("stays.txt"))
    session.add_all([passing, staying])
    session.flush()
    session.delete(passing)
    session.commit()
    assert [each.file.filename for each in watch.of(FileLinked)] == ["stays.txt"]
    file, staying.file = staying.file, None
    session.add(Document(file=file))
    session.commit()
    assert len(watch.events) == 1


def test_bulk_statements(session: Session, watch: Watch) -> None:
    """A DELETE of many rows tells of each file."""
    session.add_all([Document(file=text()) for _ in range(3)])
    session.commit()
    session.execute(sa.delete(Document))
    session.commit()
    assert {each.file for each in watch.of(FileDoomed)} == {each.file for each in watch.of(FileLinked)}
    assert len(watch.of(FileDoomed)) == 3


def test_operations_of_a_backend(documents: MemoryBackend, watch: Watch) -> None:
    """What the caller is to blame for is refused, and a reader who stops early has cancelled."""
    documents.guards = WatchedGuard
    with watched_by(watch):
        documents.put(b"hello", key="a")
        with pytest.raises(ObjectNotFoundError):
            documents.head("b")
        reader: Any = documents.get("a")
        next(reader)
        reader.close()
    assert [(each.operation, each.outcome) for each in watch.of(OperationEnded)] == [
        ("put", "ok"),
        ("head", "refused"),
        ("get", "cancelled"),
    ]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_counters_equal_the_ledger(session: Session, watch: Watch, seed: int) -> None:
    """After some hundred random transactions, what was told is what fsck and the ledger find."""
    chance = random.Random(seed)
    for _ in range(120):
        _act(session, chance)
        session.rollback() if chance.random() < 0.3 else session.commit()
    held = Counter(each.file.path for each in watch.of(FileLinked))
    held.subtract(each.file.path for each in watch.of(FileDoomed))
    assert set(held.values()) <= {0, 1}
    table = ledger_of(Base.metadata)
    assert table is not None
    linked = session.execute(sa.select(table.c.key).where(table.c.state == "linked")).scalars()
    assert set(linked) == {key for key, number in held.items() if number}
    engine = session.get_bind()
    assert isinstance(engine, sa.Engine)
    assert not fsck(engine, table, [sa.inspect(Document)], storages.all()).findings


def _act(session: Session, chance: random.Random) -> None:
    rows = list(session.scalars(sa.select(Document)))
    for _ in range(chance.randint(1, 3)):
        row = chance.choice(rows) if rows else None
        match chance.randint(0, 4) if row is not None else 0:
            case 0 | 1:
                session.add(Document(file=text()))
            case 2:
                assert row is not None
                row.file = text("other.txt")
            case 3:
                assert row is not None
                row.file = None
            case _:
                assert row is not None
                session.delete(row)
                rows.remove(row)
        session.flush()
