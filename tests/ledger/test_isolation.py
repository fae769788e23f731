"""Two sessions on one row at every isolation level of PostgreSQL, and transactions that are prepared first."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError
from litestar_filestore.ledger.sweep import SweepConfig, SweepResult
from tests.ledger.models import Base, Document, a_file
from tests.ledger.world import LONG, SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from litestar_filestore import FileObject
    from tests.servers.postgres import PostgresServer

LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
SERIALIZATION_FAILURE = "40001"


@pytest.fixture
def url(postgres_url: str) -> str:
    """PostgreSQL only."""
    return postgres_url


@pytest.mark.parametrize("level", LEVELS)
def test_replaced_by_two_at_once(seeded: World, level: str) -> None:
    """Of two sessions that replace the file that both have loaded, one fails; the bytes of the others are swept."""
    start = threading.Barrier(2)
    outcomes: dict[str, str | None] = {}

    def replace(tag: str) -> None:
        with Session(seeded.engine) as session:
            session.connection(execution_options={"isolation_level": level})
            row = session.get_one(Document, 1)
            start.wait()
            row.file = a_file(tag)
            try:
                session.commit()
            except DBAPIError as error:
                outcomes[tag] = getattr(error.orig, "sqlstate", "unknown")
            except ConflictError:
                outcomes[tag] = "conflict"
            else:
                outcomes[tag] = None

    threads = [threading.Thread(target=replace, args=[tag]) for tag in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [tag for tag, error in outcomes.items() if error is None]
    assert seeded.contents()[1][0] in winners
    if level == "READ COMMITTED":
        assert sorted(map(str, outcomes.values())) == ["None", "conflict"]
    else:
        assert sorted(map(str, outcomes.values())) == [SERIALIZATION_FAILURE, "None"]
    seeded.recover()
    assert len(seeded.objects()) == 5


@pytest.mark.parametrize("level", LEVELS)
def test_upload_in_a_transaction_that_has_read(seeded: World, level: str) -> None:
    """New content can be stored in a transaction whose snapshot is older than the intent."""
    with Session(seeded.engine) as session:
        session.connection(execution_options={"isolation_level": level})
        session.get_one(Document, 1).file = a_file("new")
        session.commit()
    assert seeded.damage() == []
    assert seeded.contents()[1][0] == "new"


@pytest.mark.parametrize("level", LEVELS)
def test_rolled_back_after_it_has_read(seeded: World, level: str) -> None:
    """The same, rolled back: the object goes, and the file can be assigned again."""
    file = a_file("new")
    with Session(seeded.engine) as session:
        session.connection(execution_options={"isolation_level": level})
        session.get_one(Document, 1).file = file
        session.flush()
        session.rollback()
        session.get_one(Document, 1).file = file
        session.commit()
    seeded.recover()
    assert seeded.contents()[1][0] == "new"


@pytest.mark.parametrize("level", LEVELS[1:])
def test_file_that_was_staged_after_the_snapshot(seeded: World, level: str) -> None:
    """A file that another transaction staged later is refused, with a reason, and free for the next transaction."""
    with Session(seeded.engine) as session:
        session.connection(execution_options={"isolation_level": level})
        row = session.get_one(Document, 1)
        file = staged_file(seeded)
        row.file = file
        with pytest.raises(ConflictError, match="store the file first, then begin"):
            session.commit()
    assert seeded.contents() == SEED
    with Session(seeded.engine) as session:
        session.connection(execution_options={"isolation_level": level})
        session.get_one(Document, 1).file = file
        session.commit()
    assert seeded.contents()[1][0] == "staged"


def staged_file(world: World) -> FileObject:
    """Return a file that is stored, staged, and held by no row."""
    file = a_file("staged")
    with Session(world.engine) as session:
        session.add(Document(id=99, file=file))
        session.flush()
        session.rollback()
    return file


@pytest.fixture
def prepared(two_phase_server: PostgresServer, tmp_path: Path) -> Iterator[tuple[World, Session]]:
    """A session that has replaced a file and deleted a row, and whose transaction is prepared."""
    engine = sa.create_engine(two_phase_server.url("psycopg"))
    world = World(engine, tmp_path / "store")
    Base.metadata.drop_all(engine)
    world.create()
    world.seed()
    with Session(engine, twophase=True) as session:
        session.get_one(Document, 1).file = a_file("new")
        session.delete(session.get_one(Document, 2))
        session.prepare()
        yield world, session
    world.close()
    engine.dispose()


def test_prepared_transaction_is_skipped(prepared: tuple[World, Session]) -> None:
    """A sweeper leaves the objects of a prepared transaction alone, whatever their leases say."""
    world, session = prepared
    # Its rows are locked, so that nobody can make them older: the sweeper is told that time has passed.
    late = SweepConfig(staged_grace_seconds=-LONG, keep_deleted_for_seconds=-LONG)
    assert world.sweep(late) == SweepResult()
    session.commit()
    assert world.contents() == {1: ("new", ("page", "side")), 3: SEED[3]}
    assert world.sweep(late) == SweepResult(deleted=2)
    assert world.damage() == []


def test_prepared_transaction_is_rolled_back(prepared: tuple[World, Session]) -> None:
    """Rolled back, it leaves everything as it was, and one object to sweep."""
    world, session = prepared
    session.rollback()
    assert world.contents() == SEED
    world.pass_time()
    assert world.sweep() == SweepResult(deleted=1)
    assert world.damage() == []
