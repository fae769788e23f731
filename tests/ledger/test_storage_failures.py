"""A store that fails while content is written: what the caller is told, and what becomes of rows, ledger and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.table import State
from litestar_filestore.testing import Fault, FaultyBackend
from tests.ledger.async_world import HALVES
from tests.ledger.models import BACKEND, Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.parametrize("half", HALVES),
    pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True),
]

DOWN = BackendUnavailableError("The store is down")
FAULTS = {
    "before": Fault("put", DOWN, call=2),
    "after": Fault("put", DOWN, call=2, after_effect=True),
}
"""Ways in which the second put fails, before and after its effect."""


def change(session: Session) -> None:
    """Replace one file, and store the one of a new row; either may be the second put."""
    with session.no_autoflush:
        session.get_one(Document, 1).file = a_file("new")
        session.add(Document(id=4, file=a_file("four")))
    session.commit()


def change_by_statement(session: Session) -> None:
    """Insert two rows."""
    session.execute(sa.insert(Document), [{"id": 4, "file": a_file("four")}, {"id": 5, "file": a_file("five")}])
    session.commit()


def change_after_writing(session: Session) -> None:
    """Write before anything is stored, so that SQLite has a note instead of an intent."""
    session.get_one(Document, 2).name = "changed"
    session.flush()
    change(session)


@pytest.fixture(params=FAULTS)
def backend(request: pytest.FixtureRequest, seeded: World) -> FaultyBackend:
    """The backend, whose second put is going to fail."""
    backend = FaultyBackend(seeded.backend, [FAULTS[request.param]])
    storages.register_backend(backend)
    return backend


def second_key(backend: FaultyBackend) -> str:
    """Return the key of the put that failed."""
    return [call for call in backend.faulty.calls if call.operation == "put"][1].paths[0]


def fail(world: World, work: Callable[[Session], None]) -> BackendUnavailableError:
    """Run work that fails, roll back, and return the error."""

    def run(session: Session) -> BackendUnavailableError:
        with pytest.raises(BackendUnavailableError) as caught:
            work(session)
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).select_from(Document)) == len(SEED)
        return caught.value

    return world.run(run)


works = pytest.mark.parametrize("work", [change, change_by_statement, change_after_writing])


@works
def test_error(seeded: World, backend: FaultyBackend, work: Callable[[Session], None]) -> None:
    """The error names operation, backend and key, as attributes and for people."""
    error = fail(seeded, work)
    assert (error.operation, error.backend, error.key) == ("put", BACKEND, second_key(backend))
    assert str(error) == f"The store is down [operation='put', backend={BACKEND!r}, key={error.key!r}]"


@works
@pytest.mark.usefixtures("backend")
def test_nothing_is_committed(seeded: World, work: Callable[[Session], None]) -> None:
    """Rows and their files are as before, and neither of the new objects has an entry that keeps it."""
    fail(seeded, work)
    assert seeded.contents() == SEED
    assert seeded.snapshot().linked == set(seeded.snapshot().rows)


@works
def test_bytes_are_swept(seeded: World, backend: FaultyBackend, work: Callable[[Session], None]) -> None:
    """What was stored is gone after the sweeps, the object of the put that failed included."""
    fail(seeded, work)
    seeded.recover()
    assert seeded.leftovers() == []
    assert second_key(backend) not in {object_.key for object_ in seeded.objects()}
    assert seeded.contents() == SEED


def test_bytes_wait_for_the_end_of_their_lease(seeded: World, backend: FaultyBackend) -> None:
    """Both objects stay staged, as another try may take them, and are swept when their lease has run out."""
    before = seeded.objects()
    fail(seeded, change)
    staged = {key for key, state in seeded.snapshot().states.items() if state is State.STAGED}
    assert {call.paths[0] for call in backend.faulty.calls} == {key.key for key in staged}
    # The second one is there only if the put failed after its effect.
    expected = 2 if backend.faulty.plan[0].after_effect else 1
    assert len(seeded.objects() - before) == expected
    assert seeded.objects() - before <= staged
    seeded.pass_time(LEASE_SECONDS - 60)
    seeded.sweep()
    assert len(seeded.objects() - before) == expected
    seeded.pass_time(61)
    assert seeded.sweep().deleted == 2
    assert seeded.objects() == before


@works
def test_next_try(seeded: World, backend: FaultyBackend, work: Callable[[Session], None]) -> None:
    """The same work in a new transaction of the session succeeds once the store is back."""

    def run(session: Session) -> None:
        with pytest.raises(BackendUnavailableError):
            work(session)
        session.rollback()
        work(session)

    seeded.run(run)
    assert len([call for call in backend.faulty.calls if call.operation == "put"]) == 4
    seeded.recover()
    assert seeded.leftovers() == []
    rows = seeded.contents()
    assert (rows[2], rows[3], rows[4]) == (SEED[2], SEED[3], ("four", ()))


def test_same_commit_again(seeded: World, backend: FaultyBackend) -> None:
    """Without a rollback, the commit can be tried again: only what is missing is stored once more."""

    def run(session: Session) -> None:
        with pytest.raises(BackendUnavailableError):
            change(session)
        session.commit()

    seeded.run(run)
    assert len([call for call in backend.faulty.calls if call.operation == "put"]) == 3
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("new", SEED[1][1]), 4: ("four", ())}
