"""One file goes into one row, whoever refers to it, with a ledger and without one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, MemoryBackend, StorageBackend, storages
from litestar_filestore.core.file_object import Referred
from litestar_filestore.errors import BackendUnavailableError, ConflictError, ObjectExistsError
from litestar_filestore.testing import Fault, FaultyBackend
from litestar_filestore.tracking.deletes import retry_deletes
from tests.links.conftest import Serve
from tests.links.unledgered import Note, World, running


def link(**wish: Any) -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject("documents", "a.txt"), for_upload=True, **wish)


def hidden(backend: StorageBackend) -> list[str]:
    """Return the names of the marks in a store."""
    prefix = f"{backend.prefix}/" if backend.prefix else ""
    found = [
        info.key for folder in ("taken", "taken-kept") for info in _listed(backend, f"{prefix}.filestore/{folder}")
    ]
    return [name.removeprefix(prefix) for name in found]


def _listed(backend: StorageBackend, folder: str) -> Any:
    return backend.storage_driver.list(folder)


@pytest.fixture
def world(serve: Serve, memory: MemoryBackend, tmp_path: Path) -> Iterator[World]:
    """An application without a ledger."""
    with running(serve, memory, tmp_path) as world:
        yield world


def uploaded(world: World) -> str:
    """Upload through a link, and return the reference."""
    reference: str = world.put(link()).json()["reference"]
    return reference


def test_post_of_one_reference_makes_one_row(serve: Serve, backend: StorageBackend, tmp_path: Path) -> None:
    """On every kind of store the second row is refused, and the file of the first stays."""
    with running(serve, backend, tmp_path) as world:
        reference = uploaded(world)
        statuses = [world.take(reference).status_code for _ in range(2)]
        assert (statuses, world.contents()) == ([201, 409], [b"abc"])


def test_second_reference_to_one_file_is_refused(world: World, memory: MemoryBackend) -> None:
    """Not the reference is used up but the file: another one to the same file makes no second row."""
    answer = world.put(link()).json()
    file = storages.file_for(answer["reference"])
    other = storages.reference_for(file, expires_in=77)
    assert [world.take(each).status_code for each in (answer["reference"], other)] == [201, 409]


def test_concurrent_posts_of_one_reference_make_one_row(world: World) -> None:
    """Of rows that are made at the same time one gets the file."""
    reference = uploaded(world)
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(each.status_code for each in pool.map(lambda _: world.take(reference), range(6)))
    assert (statuses, world.contents()) == ([201] + [409] * 5, [b"abc"])


def test_reference_stays_good_when_the_transaction_is_rolled_back(world: World, memory: MemoryBackend) -> None:
    """A client whose row was not made can send its reference again."""
    reference = uploaded(world)
    refused = world.take(reference, refuse="try again").status_code
    assert (refused, hidden(memory)) == (500, [])
    assert (world.take(reference).status_code, world.contents()) == (201, [b"abc"])


def test_reference_of_a_deleted_row_makes_no_new_one(world: World, memory: MemoryBackend) -> None:
    """Its file is gone, so a row would point at nothing; no mark stays either."""
    reference = uploaded(world)
    identity = world.take(reference).json()
    assert world.served.client.delete(f"/{identity}").status_code == 204
    assert (world.take(reference).status_code, world.contents()) == (409, [])
    assert (list(memory.list()), hidden(memory)) == ([], [])


def test_reference_of_a_file_that_a_form_put_into_a_row_is_refused(world: World) -> None:
    """A row that was made without a reference holds its file as well."""
    world.served.client.post("/form", files={"data": ("a.txt", b"abc")})
    with Session(world.engine) as session:
        reference = storages.reference_for(session.scalars(sa.select(Note)).one().file)
    assert (world.take(reference).status_code, world.contents()) == (409, [b"abc"])


def test_old_reference_does_not_take_a_kept_file(world: World, memory: MemoryBackend) -> None:
    """Whoever uploaded a file that the application keeps cannot have it deleted with a row."""
    reference = world.served.client.post("/form/kept", files={"data": ("a.txt", b"abc")}).text
    assert (world.take(reference).status_code, world.contents()) == (409, [])
    assert [memory.get_content(info.key) for info in memory.list()] == [b"abc"]


def test_kept_file_goes_into_one_row_by_a_reference_for_it(world: World) -> None:
    """The application can let clients put into rows what it keeps, once."""
    kept = storages.file_for(world.served.client.post("/form/kept", files={"data": ("a.txt", b"abc")}).text)
    reference = storages.reference_for(kept, kept=True)
    assert [world.take(reference).status_code for _ in range(2)] == [201, 409]
    assert world.contents() == [b"abc"]


def test_program_puts_a_kept_file_into_a_row(world: World) -> None:
    """What the application keeps it can put into a row itself; only references are refused."""
    kept = storages.file_for(world.served.client.post("/form/kept", files={"data": ("a.txt", b"abc")}).text)
    kept.referred = None
    with Session(world.engine) as session, session.begin():
        session.add(Note(file=kept))
    assert world.contents() == [b"abc"]


def test_row_can_be_given_its_own_file_again(world: World) -> None:
    """A client that sends back the reference of what the row holds changes nothing."""
    identity = world.take(uploaded(world)).json()
    with Session(world.engine) as session, session.begin():
        note = session.get_one(Note, identity)
        note.file = storages.file_for(storages.reference_for(note.file))
    assert world.contents() == [b"abc"]


def test_file_moves_from_one_row_to_another_by_a_reference(world: World) -> None:
    """Given up by one row and taken by another in one transaction, a file only changes hands."""
    identity = world.take(uploaded(world)).json()
    with Session(world.engine) as session, session.begin():
        note = session.get_one(Note, identity)
        file = storages.file_for(storages.reference_for(note.file))
        session.delete(note)
        session.flush()
        session.add(Note(file=file))
    assert world.contents() == [b"abc"]


def test_two_flushes_of_one_transaction_do_not_share_a_reference(world: World) -> None:
    """A reference makes no second row in its own transaction either."""
    reference = uploaded(world)
    with Session(world.engine) as session:
        session.add(Note(file=storages.file_for(reference)))
        session.flush()
        session.add(Note(file=storages.file_for(reference)))
        with pytest.raises(ConflictError):
            session.flush()


def test_one_flush_does_not_give_a_file_to_two_rows(world: World, memory: MemoryBackend) -> None:
    """What the program assigns twice is refused before the commit."""
    file = FileObject(memory, "a.txt", content=b"abc").save()
    with Session(world.engine) as session:
        session.add_all([Note(file=file), Note(file=file)])
        with pytest.raises(ConflictError):
            session.flush()
    file.delete()


def test_savepoint_that_is_rolled_back_gives_the_reference_back(world: World, memory: MemoryBackend) -> None:
    """The row of a savepoint is as good as never made."""
    reference = uploaded(world)
    with Session(world.engine) as session, session.begin():
        savepoint = session.begin_nested()
        session.add(Note(file=storages.file_for(reference)))
        session.flush()
        savepoint.rollback()
    retry_deletes()
    assert hidden(memory) == []
    assert world.take(reference).status_code == 201


def test_mark_whose_answer_is_lost_is_recognised(serve: Serve, tmp_path: Path) -> None:
    """A put that a client library has sent again meets what it has put itself, and is not taken for somebody else's."""
    backend = FaultyBackend(MemoryBackend("documents"))
    with running(serve, backend, tmp_path) as world:
        reference = uploaded(world)
        backend.faulty.calls.clear()
        backend.faulty.plan.append(Fault("put", ObjectExistsError("sent again"), after_effect=True))
        assert (world.take(reference).status_code, world.contents()) == (201, [b"abc"])


def test_reference_whose_mark_the_store_refuses_makes_no_row(serve: Serve, tmp_path: Path) -> None:
    """While nobody can say whether it was used, a reference is good for nothing, and good again afterwards."""
    backend = FaultyBackend(MemoryBackend("documents"))
    with running(serve, backend, tmp_path) as world:
        reference = uploaded(world)
        backend.faulty.calls.clear()
        backend.faulty.plan.append(Fault("put", BackendUnavailableError("down")))
        assert [world.take(reference).status_code for _ in range(2)] == [503, 201]


@pytest.mark.parametrize("referred", [Referred.FREE, Referred.KEPT])
def test_reference_says_whether_it_takes_what_is_kept(world: World, memory: MemoryBackend, referred: Referred) -> None:
    """Nobody but the application can say so: it is signed."""
    file = FileObject(memory, "a.txt", content=b"abc").save()
    reference = storages.reference_for(file, kept=referred is Referred.KEPT)
    assert storages.file_for(reference).referred is referred
