"""Repositories and services of Advanced Alchemy change many rows at once, by statements on the class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from advanced_alchemy.repository import SQLAlchemyAsyncRepository, SQLAlchemySyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService, SQLAlchemySyncRepositoryService
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from litestar_filestore import FileObjectList
from litestar_filestore.errors import ConflictError
from tests.ledger.async_world import HALVES, AsyncWorld
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.parametrize("half", HALVES)


class SyncRepository(SQLAlchemySyncRepository[Document]):
    model_type = Document


class AsyncRepository(SQLAlchemyAsyncRepository[Document]):
    model_type = Document


class SyncService(SQLAlchemySyncRepositoryService[Document]):
    repository_type = SyncRepository


class AsyncService(SQLAlchemyAsyncRepositoryService[Document]):
    repository_type = AsyncRepository


class Unit:
    """Calls one method of a repository or service, sync or async, in a session of its own."""

    def __init__(self, world: World, sync: Callable[..., Any], async_: Callable[..., Any]) -> None:
        self._world = world
        self._sync = sync
        self._async = async_

    def __call__(
        self, method: str, *arguments: Any, end: Literal["commit", "rollback"] = "commit", **options: Any
    ) -> list[int]:
        """Call `method`, end the transaction, and return the primary keys of the rows that it returned."""
        if isinstance(self._world, AsyncWorld):
            return self._world.run_async(self._call_async(self._world, method, end, arguments, options))
        with Session(self._world.engine) as session:
            rows = getattr(self._sync(session=session), method)(*arguments, **options)
            found = sorted(row.id for row in rows)
            getattr(session, end)()
            return found

    async def _call_async(
        self, world: AsyncWorld, method: str, end: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> list[int]:
        async with AsyncSession(world.async_engine) as session:
            rows = await getattr(self._async(session=session), method)(*arguments, **options)
            found = sorted(row.id for row in rows)
            await getattr(session, end)()
            return found


@pytest.fixture(params=["repository", "service"])
def unit(request: pytest.FixtureRequest, seeded: World) -> Unit:
    """A repository or a service for the rows of `SEED`."""
    if request.param == "repository":
        return Unit(seeded, SyncRepository, AsyncRepository)
    return Unit(seeded, SyncService, AsyncService)


def loaded(world: World, *numbers: int) -> list[Document]:
    """Return rows as they are in the database, and in no session."""
    return world.run(lambda session: [session.get_one(Document, number) for number in numbers])


# -- update_many


def test_update_many(seeded: World, unit: Unit) -> None:
    """Each row gets its own file, and what it held is given up."""
    rows = [Document(id=1, file=a_file("a")), Document(id=2, file=a_file("b"))]
    assert unit("update_many", rows) == [1, 2]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("a", SEED[1][1]), 2: ("b", ())}


def test_update_many_to_null(seeded: World, unit: Unit) -> None:
    """Rows that get no file give theirs up."""
    unit("update_many", [Document(id=1, file=None), Document(id=2, file=None)])
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: (None, SEED[1][1]), 2: (None, ())}


def test_update_many_lists(seeded: World, unit: Unit) -> None:
    """Lists that are replaced as a whole give up what is not in the new ones."""
    unit("update_many", [Document(id=number, pages=FileObjectList([a_file(f"leaf{number}")])) for number in (1, 3)])
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("one", ("leaf1",)), 3: ("three", ("leaf3",))}


def test_update_many_other_columns(seeded: World, unit: Unit) -> None:
    """Rows whose files are not mentioned keep them, and so do loaded ones, which mention the files they hold."""
    (row,) = loaded(seeded, 1)
    row.name = "changed"
    unit("update_many", [row, Document(id=2, name="changed")])
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


def test_update_many_of_loaded_rows(seeded: World, unit: Unit) -> None:
    """Loaded rows that got a new file give up the old one, and keep their other files."""
    rows = loaded(seeded, 1, 2)
    for row in rows:
        row.file = a_file(f"new{row.id}")
    unit("update_many", rows)
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("new1", SEED[1][1]), 2: ("new2", ())}


def test_update_many_shares_a_file(seeded: World, unit: Unit) -> None:
    """One file for two rows is refused."""
    file = a_file("new")
    with pytest.raises(ConflictError, match=r"two rows; assign file\.copy\(\)"):
        unit("update_many", [Document(id=1, file=file), Document(id=2, file=file)])
    assert seeded.contents() == SEED


def test_update_many_rolled_back(seeded: World, unit: Unit) -> None:
    """Nothing is given up by a transaction that is rolled back, and what it stored is swept."""
    unit("update_many", [Document(id=1, file=a_file("a")), Document(id=2, file=None)], end="rollback")
    assert seeded.contents() == SEED
    seeded.recover()
    assert seeded.leftovers() == []


# -- delete_where, delete_many


def test_delete_where(seeded: World, unit: Unit) -> None:
    """The files of the rows that meet a condition are given up."""
    assert unit("delete_where", Document.id < 3) == [1, 2]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {3: SEED[3]}


def test_delete_where_by_value(seeded: World, unit: Unit) -> None:
    """The same where the condition is a value of a column."""
    assert unit("delete_where", id=1) == [1]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {2: SEED[2], 3: SEED[3]}


def test_delete_where_meets_nothing(seeded: World, unit: Unit) -> None:
    """Where no row meets the condition, no file is given up."""
    assert unit("delete_where", Document.id > 100) == []
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


def test_delete_many(seeded: World, unit: Unit) -> None:
    """The files of the rows that are named are given up; one that is not there is no error."""
    assert unit("delete_many", [1, 3, 99]) == [1, 3]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {2: SEED[2]}


def test_delete_many_in_several_statements(seeded: World, unit: Unit) -> None:
    """The same where there are more rows than fit into one statement."""
    assert unit("delete_many", [1, 2, 3], chunk_size=1) == [1, 2, 3]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.objects() == set()


@pytest.mark.parametrize(("method", "argument"), [("delete_many", [1, 2]), ("delete_where", Document.id < 3)])
def test_delete_rolled_back(seeded: World, unit: Unit, method: str, argument: Any) -> None:
    """Nothing is given up by a transaction that is rolled back."""
    unit(method, argument, end="rollback")
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


# -- upsert_many


def test_upsert_many(seeded: World, unit: Unit) -> None:
    """Rows that are there get the new files and give up the old ones; the others are added."""
    rows = [
        Document(id=1, file=a_file("a")),
        Document(id=4, file=a_file("four"), pages=FileObjectList([a_file("leaf")])),
    ]
    assert unit("upsert_many", rows) == [1, 4]
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 1: ("a", SEED[1][1]), 4: ("four", ("leaf",))}


def test_upsert_many_by_another_column(seeded: World, unit: Unit) -> None:
    """The same where rows are told apart by a column that is no primary key."""
    unit("update_many", [Document(id=2, name="two")])
    unit("upsert_many", [Document(name="two", file=a_file("b"))], match_fields=["name"])
    seeded.recover()
    assert seeded.leftovers() == []
    assert seeded.contents() == {**SEED, 2: ("b", ())}


def test_upsert_many_rolled_back(seeded: World, unit: Unit) -> None:
    """Nothing is given up by a transaction that is rolled back, and what it stored is swept."""
    unit("upsert_many", [Document(id=1, file=a_file("a")), Document(id=4, file=a_file("four"))], end="rollback")
    assert seeded.contents() == SEED
    seeded.recover()
    assert seeded.leftovers() == []
