"""A schema on SQLite is another file, attached to the connection: its ledger and its notes belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import MemoryBackend, storages
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.sweep import SweepConfig, sweep
from litestar_filestore.ledger.table import State
from tests.ledger.models import BACKEND, a_file
from tests.ledger.schemas import Letter, Post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER = Post.metadata.tables["post.filestore_object"]
AT_ONCE = SweepConfig(staged_grace_seconds=-2 * LEASE_SECONDS)
"""Takes every note for one whose process has died."""


@pytest.fixture
def backend() -> Iterator[MemoryBackend]:
    """The store."""
    backend = MemoryBackend(BACKEND)
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(BACKEND)


@pytest.fixture
def translated(tmp_path: Path) -> Iterator[sa.Engine]:
    """A database file, where what the models have in a schema is in none."""
    engine = sa.create_engine(
        f"sqlite:///{tmp_path}/main.db", execution_options={"schema_translate_map": {"post": None}}
    )
    Post.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[sa.Engine]:
    """A database file with another one attached to it, which is the schema."""
    engine = attach(tmp_path, "post")
    Post.metadata.create_all(engine)
    yield engine
    engine.dispose()


def attach(directory: Path, *names: str) -> sa.Engine:
    """Return an engine with files of these names as schemas."""
    engine = sa.create_engine(f"sqlite:///{directory}/main.db")

    @event.listens_for(engine, "connect")
    def attach_all(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        for name in names:
            cursor = connection.cursor()
            cursor.execute(f"ATTACH '{directory}/{name}.db' AS \"{name}\"")
            cursor.close()

    return engine


def add_after_writing(session: Session) -> None:
    """Store content in a transaction that holds the write lock, and so needs a note."""
    session.add(Letter(name="written"))
    session.flush()
    session.add(Letter(name="file", file=a_file("new")))
    session.flush()


@pytest.mark.parametrize("kind", ["translated", "attached"])
def test_intent(request: pytest.FixtureRequest, kind: str, backend: MemoryBackend) -> None:
    """What is staged beside a session is staged in the session's schema."""
    engine: sa.Engine = request.getfixturevalue(kind)
    with Session(engine) as session:
        session.add(Letter(file=a_file("new")))
        session.flush()
        session.rollback()
    with engine.connect() as connection:
        assert connection.scalars(sa.select(LEDGER.c.state)).all() == [State.STAGED]
    assert sweep(engine, LEDGER, storages, AT_ONCE).deleted == 1
    assert list(backend.list()) == []


@pytest.mark.parametrize("kind", ["translated", "attached"])
def test_note(request: pytest.FixtureRequest, kind: str, tmp_path: Path, backend: MemoryBackend) -> None:
    """A transaction that has written leaves its note beside the file of its schema, and a sweep finds it there."""
    engine: sa.Engine = request.getfixturevalue(kind)
    with Session(engine) as session:
        add_after_writing(session)
        session.commit()
    file = "post.db-filestore" if kind == "attached" else "main.db-filestore"
    assert [path.name for path in tmp_path.glob("*-filestore")] == [file]
    sweep(engine, LEDGER, storages, AT_ONCE)
    assert len(list(backend.list())) == 1


def test_notes_of_one_schema_are_not_those_of_another(tmp_path: Path, backend: MemoryBackend) -> None:
    """A sweep of one attached file leaves the objects alone that another one's notes name."""
    both = attach(tmp_path, "one", "two")
    one, two = (both.execution_options(schema_translate_map={"post": name}) for name in ("one", "two"))
    for engine in (one, two):
        Post.metadata.create_all(engine)
    with Session(one) as session:
        add_after_writing(session)
        session.commit()
    for engine in (two, one):
        sweep(engine, LEDGER, storages, AT_ONCE)
    assert len(list(backend.list())) == 1
    both.dispose()
