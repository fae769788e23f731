"""Objects that only an open transaction is going to enter are noted, so that a sweep finds what a kill leaves."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import FlushError

from litestar_filestore import storages
from litestar_filestore.errors import ConflictError, LedgerMissingError, LinkLostError
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.sweep import SweepConfig, sweep_async
from tests.ledger.models import Base, Document, a_file, content_of
from tests.ledger.places import async_url
from tests.ledger.world import LEDGER, NOTES, SEED, World, notes_file

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = SweepConfig(staged_grace_seconds=-2 * LEASE_SECONDS)
"""Takes every note for one whose process has died."""
MARIADB_SETTINGS = "SET innodb_snapshot_isolation = ON, innodb_lock_wait_timeout = 1"


REFUSED = pytest.raises((LinkLostError, OperationalError), match=r"given up|has changed")


def settings(url: str) -> dict[str, str]:
    """Return what to connect with."""
    return {"init_command": MARIADB_SETTINGS} if "mysql" in url else {}


def make_world(url: str, directory: Path) -> Iterator[World]:
    """Yield the rows of the seed; in the end nothing is damaged, and sweeps leave nothing over."""
    engine = sa.create_engine(url, connect_args=settings(url))
    world = World(engine, directory / "store")
    Base.metadata.drop_all(engine)
    world.create()
    world.seed()
    world.recover()  # forgets what adding the seed has noted
    yield world
    on_point(None)
    assert world.damage() == []
    world.recover()
    assert world.leftovers() == []
    world.close()
    engine.dispose()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[World]:
    """A database file whose notes are beside it."""
    yield from make_world(f"sqlite:///{tmp_path}/test.db", tmp_path)


@pytest.fixture(params=["postgres_url", "mariadb_url"])
def on_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A database with a table of notes, where transactions cannot change what came after their snapshot."""
    yield from make_world(request.getfixturevalue(request.param), tmp_path)


def replace(session: Session) -> None:
    """Store new content in a transaction that has read, and on SQLite written, already."""
    if session.get_bind().dialect.name == "sqlite":
        session.get_one(Document, 2).name = "written"
        session.flush()
    else:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.get_one(Document, 1).file = a_file("new")
    session.flush()


def new_keys(world: World, session: Session) -> list[str]:
    """Return the key of what was stored by `replace`."""
    file = session.get_one(Document, 1).file
    assert file is not None
    assert {file.path} == {key.key for key in world.objects()} - {key.key for key in world.snapshot().states}
    return [file.path]


def test_note_names_the_object(on_sqlite: World) -> None:
    """While the transaction is open a note names what it has stored; once it is committed the note is forgotten."""
    with Session(on_sqlite.engine) as session:
        replace(session)
        assert on_sqlite.notes() == new_keys(on_sqlite, session)
        session.commit()
    on_sqlite.pass_time()
    on_sqlite.sweep()
    assert on_sqlite.notes() == []
    assert on_sqlite.contents()[1][0] == "new"


def test_note_on_a_server(on_server: World) -> None:
    """The same in the table of a server, which nobody but the ledger writes."""
    with Session(on_server.engine) as session:
        replace(session)
        assert on_server.notes() == new_keys(on_server, session)
        session.commit()
    on_server.pass_time()
    on_server.sweep()
    assert on_server.notes() == []
    assert on_server.contents()[1][0] == "new"


def test_sweep_leaves_what_a_transaction_is_entering(on_server: World) -> None:
    """A note that is due while its transaction is open is left for the next sweep, which finds the entry."""
    with Session(on_server.engine) as session:
        replace(session)
        on_server.sweep(AT_ONCE)
        assert on_server.notes() == new_keys(on_server, session)
        session.commit()
    on_server.sweep(AT_ONCE)
    assert on_server.notes() == []
    assert on_server.contents()[1][0] == "new"


async def test_async_sweep_leaves_it_too(on_server: World) -> None:
    """So do sweeps through async drivers."""
    url = on_server.engine.url.render_as_string(hide_password=False)
    engine = create_async_engine(async_url(url), connect_args=settings(url))
    with Session(on_server.engine) as session:
        replace(session)
        await sweep_async(engine, LEDGER, storages, AT_ONCE)
        assert on_server.notes() == new_keys(on_server, session)
        session.commit()
    await sweep_async(engine, LEDGER, storages, AT_ONCE)
    await engine.dispose()
    assert on_server.notes() == []
    assert on_server.contents()[1][0] == "new"


def test_late_transaction(on_server: World) -> None:
    """A transaction that comes after the sweep is refused; its object is deleted, and nothing is damaged.

    MariaDB says so itself: nothing can be entered in the place of what came after the snapshot.
    """

    def sweep_once(point: str) -> None:
        if point == "note.after":
            on_point(None)
            on_server.sweep(AT_ONCE)

    on_point(sweep_once)
    with (
        Session(on_server.engine) as session,
        REFUSED,
    ):
        replace(session)
    assert on_server.contents() == SEED
    assert len(on_server.objects()) == 5


@pytest.mark.parametrize("way", ["save", "copy"])
@pytest.mark.parametrize("is_refused", [False, True])
def test_stored_by_hand(seeded: World, way: str, is_refused: bool) -> None:  # noqa: FBT001
    """What was saved or copied by hand is swept if its row is refused or rolled back, but not before its lease ends."""
    with Session(seeded.engine) as session:
        if way == "save":
            file = a_file("by hand")
            file.save()
        else:
            original = session.get_one(Document, 1).file
            assert original is not None
            file = original.copy().save()
        session.add(Document(id=1 if is_refused else 4, file=file))
        if is_refused:
            with pytest.raises((IntegrityError, FlushError)):  # the second one where the session has loaded the row
                session.flush()
        else:
            session.flush()
        session.rollback()
    assert seeded.sweep().deleted == 0
    assert len(seeded.objects()) == 6
    seeded.recover()
    assert len(seeded.objects()) == 5
    assert seeded.contents() == SEED


async def test_stored_by_hand_in_async_code(world: World, url: str) -> None:
    """The same in an async session; committed, it stays, and the note is forgotten."""
    engine = create_async_engine(async_url(url))
    lost, kept = a_file("lost"), a_file("kept")
    await lost.save_async()
    await kept.save_async()
    async with AsyncSession(engine) as session:
        session.add(Document(id=1, file=lost))
        await session.flush()
        await session.rollback()
        session.add(Document(id=2, file=kept))
        await session.commit()
    await engine.dispose()
    world.recover()
    assert world.leftovers() == []
    assert world.contents() == {2: ("kept", ())}


def test_stored_by_hand_for_another_database(on_sqlite: World, tmp_path: Path) -> None:
    """The first ledger would sweep it under the row of the second: it has to be copied."""
    other = sa.create_engine(f"sqlite:///{tmp_path}/other.db")
    Base.metadata.create_all(other)
    file = a_file("by hand")
    file.save()
    with Session(on_sqlite.engine) as session:
        session.add(Document(id=4, file=file))
        session.flush()
        session.rollback()
    with Session(other) as session:
        session.add(Document(id=4, file=file))
        with pytest.raises(ConflictError, match="copy"):
            session.flush()
        session.rollback()
        session.add(Document(id=4, file=file.copy()))
        session.commit()
        on_sqlite.recover()
        kept = session.get_one(Document, 4).file
        assert kept is not None
        assert kept.get_content() == content_of("by hand")
        on_sqlite.backend.delete(kept.path)
    other.dispose()


def test_missing_table(on_server: World) -> None:
    """Where the database has no table for notes, nothing is stored, and the error says what to create."""
    NOTES.drop(on_server.engine)
    with Session(on_server.engine) as session, pytest.raises(LedgerMissingError, match="'filestore_note'"):
        replace(session)
    NOTES.create(on_server.engine)
    assert on_server.contents() == SEED


def test_file_is_as_private_as_the_database(on_sqlite: World) -> None:
    """Whoever may not read the database may not read the keys of its objects either."""
    database = Path(str(on_sqlite.engine.url.database))
    database.chmod(0o600)
    with Session(on_sqlite.engine) as session:
        replace(session)
        session.commit()
    file = notes_file(on_sqlite.engine)
    assert file is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_file_without_need(on_sqlite: World) -> None:
    """Sessions that can stage their objects, and sweeps, make no file."""
    with Session(on_sqlite.engine) as session:
        session.get_one(Document, 1).file = a_file("new")
        session.commit()
    on_sqlite.sweep()
    assert notes_file(on_sqlite.engine) is None


def test_session_in_a_transaction_of_the_application(on_sqlite: World) -> None:
    """A session that joins a connection, as tests do, leaves no trace outside of it."""
    with on_sqlite.engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.get_one(Document, 2).name = "written"
            session.flush()
            session.get_one(Document, 1).file = a_file("new")
            session.flush()
            session.rollback()
        transaction.rollback()
    assert notes_file(on_sqlite.engine) is None
    assert on_sqlite.contents() == SEED
