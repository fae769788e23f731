"""Backends are registered and open exactly while an application runs."""

import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient, TestClient
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    StorageBackend,
    StorageError,
    StorageRegistry,
    StoredObject,
    storages,
)
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, UnsupportedOperationError


class Watched(LocalBackend):
    """A folder that notes when it is started and closed, and fails at either where it is told to."""

    def __init__(self, key: str, root: Path, journal: list[str], *, fails: Sequence[str] = ()) -> None:
        super().__init__(key, root)
        self.journal = journal
        self.fails = fails

    async def start_async(self) -> None:
        self._note("start")
        await super().start_async()

    async def close_async(self) -> None:
        self._note("close")
        await super().close_async()

    def start(self) -> None:
        self._note("start")
        super().start()

    def close(self) -> None:
        self._note("close")
        super().close()

    def _note(self, operation: str) -> None:
        self.journal.append(f"{operation} {self.key}")
        if operation in self.fails:
            raise BackendUnavailableError("No", operation=operation, backend=self.key)


@pytest.fixture
def journal() -> list[str]:
    """What happened, in order."""
    return []


@pytest.fixture
def registry() -> StorageRegistry:
    """A registry of this test."""
    return StorageRegistry()


def app(registry: StorageRegistry, *backends: StorageBackend, **options: Any) -> Litestar:
    """Return an application around backends."""
    return Litestar(plugins=[FilestorePlugin(FilestoreConfig(backends, registry=registry))], **options)


def test_backends_are_registered_while_the_application_runs(tmp_path: Path, registry: StorageRegistry) -> None:
    """The registry knows the backends inside the lifespan."""
    backend = LocalBackend("a", tmp_path)
    with TestClient(app(registry, backend)):
        assert registry.get_backend("a") is backend


def test_building_an_application_registers_nothing(tmp_path: Path, registry: StorageRegistry) -> None:
    """An application that was built and never run leaves no trace in the process."""
    app(registry, LocalBackend("a", tmp_path))
    assert registry.registered_backends() == []


def test_stopping_the_application_forgets_its_backends(tmp_path: Path, registry: StorageRegistry) -> None:
    """After the lifespan the registry is what it was before."""
    with TestClient(app(registry, LocalBackend("a", tmp_path))):
        pass
    assert registry.registered_backends() == []


def test_stopping_the_application_restores_what_it_replaced(tmp_path: Path, registry: StorageRegistry) -> None:
    """A backend that was registered by hand under the same key is back after the lifespan."""
    before = LocalBackend("a", tmp_path / "before")
    registry.register_backend(before)
    with TestClient(app(registry, LocalBackend("a", tmp_path / "during"))):
        assert registry.get_backend("a") is not before
    assert registry.get_backend("a") is before


def test_stopping_the_application_leaves_what_was_registered_meanwhile(
    tmp_path: Path, registry: StorageRegistry
) -> None:
    """A backend that somebody registered while the application ran is not taken away."""
    meanwhile = LocalBackend("a", tmp_path / "meanwhile")
    with TestClient(app(registry, LocalBackend("a", tmp_path / "during"))):
        registry.register_backend(meanwhile)
    assert registry.get_backend("a") is meanwhile


def test_application_can_be_started_again(tmp_path: Path, registry: StorageRegistry) -> None:
    """A second lifespan of the same application registers its backends again."""
    application = app(registry, LocalBackend("a", tmp_path))
    for _ in range(2):
        with TestClient(application):
            assert registry.registered_backends() == ["a"]


def test_backends_start_in_order_and_close_in_reverse(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """What was started last is closed first."""
    with TestClient(app(registry, Watched("a", tmp_path / "a", journal), Watched("b", tmp_path / "b", journal))):
        journal.append("run")
    assert journal == ["start a", "start b", "run", "close b", "close a"]


def test_backends_are_open_around_the_lifespans_of_the_application(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """A lifespan of the application can use the backends to its end."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None]:
        journal.append("enter")
        yield
        journal.append("leave")

    with TestClient(app(registry, Watched("a", tmp_path, journal), lifespan=[lifespan])):
        pass
    assert journal == ["start a", "enter", "leave", "close a"]


async def test_failing_start_closes_what_was_started(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """If a backend cannot be started, those before it are closed and those after it left alone."""
    backends = [
        Watched("a", tmp_path / "a", journal),
        Watched("b", tmp_path / "b", journal, fails=["start"]),
        Watched("c", tmp_path / "c", journal),
    ]
    with pytest.raises(BackendUnavailableError) as raised:
        async with FilestoreConfig(backends, registry=registry).opened():
            journal.append("run")
    assert (journal, raised.value.backend) == (["start a", "start b", "close a"], "b")
    assert registry.registered_backends() == []


async def test_failing_start_names_the_backend(tmp_path: Path, registry: StorageRegistry) -> None:
    """A root that cannot be made is an error at the start, with the key of its backend."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="backend='a'"):
        await FilestoreConfig([LocalBackend("a", tmp_path / "file")], registry=registry).opened().__aenter__()


def test_application_with_a_failing_start_does_not_start(tmp_path: Path, registry: StorageRegistry) -> None:
    """The error of the backend ends the application's start."""
    (tmp_path / "file").write_bytes(b"")
    client = TestClient(app(registry, LocalBackend("a", tmp_path / "file")))
    with pytest.RaisesGroup(StorageError, flatten_subgroups=True), client:
        pass


def test_opened_in_a_script_without_an_event_loop(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """``with`` opens the backends as ``async with`` does, in order, and closes them in reverse."""
    backends = [Watched(key, tmp_path / key, journal) for key in "ab"]
    with FilestoreConfig(backends, registry=registry).opened():
        assert registry.registered_backends() == ["a", "b"]
    assert journal == ["start a", "start b", "close b", "close a"]
    assert registry.registered_backends() == []


def test_failing_start_in_a_script_closes_what_was_started(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """Nothing stays open or registered."""
    backends = [Watched("a", tmp_path / "a", journal), Watched("b", tmp_path / "b", journal, fails=["start"])]
    with (
        pytest.raises(BackendUnavailableError, match="backend='b'"),
        FilestoreConfig(backends, registry=registry).opened(),
    ):
        journal.append("run")
    assert (journal, registry.registered_backends()) == (["start a", "start b", "close a"], [])


def test_links_in_a_script(tmp_path: Path) -> None:
    """A folder cannot sign; the error says how a script makes links, and does so."""
    config = FilestoreConfig([LocalBackend("scripted", tmp_path)], secret=secrets.token_bytes(32))
    file = FileObject(config.backends[0], "a.txt", content=b"x").save()
    with pytest.raises(UnsupportedOperationError, match=r"with config.opened\(\):"):
        file.url()
    with pytest.raises(ConfigurationError, match=r"FilestoreConfig\(secret=...\) .*with config.opened\(\):"):
        file.url(disposition="inline")
    with config.opened():
        assert file.url().startswith("/")


async def test_failing_close_closes_the_others(tmp_path: Path, registry: StorageRegistry, journal: list[str]) -> None:
    """One backend that cannot be closed is raised, after the others are closed and all are forgotten."""
    backends = [Watched("a", tmp_path / "a", journal), Watched("b", tmp_path / "b", journal, fails=["close"])]
    with pytest.raises(BackendUnavailableError, match="backend='b'"):
        async with FilestoreConfig(backends, registry=registry).opened():
            pass
    assert (journal[-2:], registry.registered_backends()) == (["close b", "close a"], [])


async def test_failing_closes_are_raised_together(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """If closing fails twice, both errors are raised."""
    backends = [Watched(key, tmp_path / key, journal, fails=["close"]) for key in "ab"]
    with pytest.raises(ExceptionGroup) as raised:
        async with FilestoreConfig(backends, registry=registry).opened():
            pass
    assert [getattr(each, "backend", None) for each in raised.value.exceptions] == ["b", "a"]


async def test_failing_body_and_close_are_raised_together(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """An error while the backends are open is not hidden by one while they are closed."""
    backend = Watched("a", tmp_path, journal, fails=["close"])
    with pytest.raises(ExceptionGroup) as raised:
        async with FilestoreConfig([backend], registry=registry).opened():
            raise LookupError("mine")
    assert [type(each) for each in raised.value.exceptions] == [LookupError, BackendUnavailableError]


async def test_failing_body_is_raised_as_it_is(tmp_path: Path, registry: StorageRegistry) -> None:
    """An error while the backends are open comes out unchanged if closing works."""
    with pytest.raises(LookupError, match="mine"):
        async with FilestoreConfig([LocalBackend("a", tmp_path)], registry=registry).opened():
            raise LookupError("mine")


async def test_two_applications_may_share_a_backend(
    tmp_path: Path, registry: StorageRegistry, journal: list[str]
) -> None:
    """A backend stays registered until the last application that has it stops, in whatever order they stop."""
    backend = Watched("a", tmp_path, journal)
    first, second = (AsyncTestClient(app(registry, backend)) for _ in range(2))
    await first.__aenter__()
    async with second:
        await first.__aexit__(None, None, None)
        assert registry.get_backend("a") is backend
    assert registry.registered_backends() == []


def test_two_applications_may_have_different_backends(tmp_path: Path, registry: StorageRegistry) -> None:
    """Applications in one process whose keys differ do not touch each other."""
    with (
        TestClient(app(registry, LocalBackend("a", tmp_path / "a"))),
        TestClient(app(registry, LocalBackend("b", tmp_path / "b"))),
    ):
        assert registry.registered_backends() == ["a", "b"]


async def test_two_applications_may_not_have_different_backends_under_one_key(
    tmp_path: Path, registry: StorageRegistry
) -> None:
    """The second application does not start, and the first one's files stay where they are."""
    first, second = LocalBackend("a", tmp_path / "first"), LocalBackend("a", tmp_path / "second")
    async with FilestoreConfig([first], registry=registry).opened():
        with pytest.raises(ConfigurationError, match="backend='a'"):
            await FilestoreConfig([second], registry=registry).opened().__aenter__()
        assert registry.get_backend("a") is first


def test_one_application_after_the_other_may_use_one_key(tmp_path: Path, registry: StorageRegistry) -> None:
    """Tests that each build an application of their own get their own folder each."""
    for name in ("first", "second"):
        with TestClient(app(registry, LocalBackend("a", tmp_path / name))):
            registry.get_backend("a").put(b"", key="x")
    assert [(tmp_path / name / "x").exists() for name in ("first", "second")] == [True, True]


class Base(DeclarativeBase):
    # With a ledger its sweeper tries again; this is about the deletes of sessions that have none.
    metadata = MetaData(info={"litestar_filestore.ledger": False})


class Row(Base):
    __tablename__ = "row"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("lifespan"))


class Stubborn(LocalBackend):
    """A folder whose first delete fails."""

    refuses = True

    def delete(self, key: str | Sequence[str]) -> None:
        if self.refuses:
            raise BackendUnavailableError("Not now", backend=self.key)
        super().delete(key)

    async def delete_async(self, key: str | Sequence[str]) -> None:
        if self.refuses:
            raise BackendUnavailableError("Not now", backend=self.key)
        await super().delete_async(key)


async def test_stopping_tries_failed_deletes_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An object that could not be deleted with its row goes before the backend is closed."""
    backend = Stubborn("lifespan", tmp_path / "files")
    engine = create_engine(f"sqlite:///{tmp_path}/rows.sqlite")
    Base.metadata.create_all(engine)
    async with FilestoreConfig([backend]).opened():
        with Session(engine) as session, caplog.at_level(logging.CRITICAL, "litestar_filestore"):
            row = Row(file=FileObject(backend, "a.txt", content=b"x"))
            session.add(row)
            session.commit()
            session.delete(row)
            session.commit()
        assert len(list(backend.list())) == 1
        backend.refuses = False
    engine.dispose()
    assert list(backend.list()) == []


def test_columns_find_the_backends_of_the_running_application(tmp_path: Path) -> None:
    """By default the registry is the one that columns and files look in."""

    @get("/")
    async def save() -> int | None:
        return (await FileObject("lifespan", "a.txt", content=b"x").save_async()).size

    plugin = FilestorePlugin(FilestoreConfig([LocalBackend("lifespan", tmp_path)]))
    with TestClient(Litestar([save], plugins=[plugin])) as client:
        assert client.get("/").json() == 1
    assert "lifespan" not in storages
