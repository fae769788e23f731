"""Statements on classes that share tables, or have several, change the files of exactly the rows that they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from litestar_filestore import LocalBackend, storages
from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.ledger.sweep import sweep
from litestar_filestore.ledger.table import ledger_of
from tests.ledger.animals import BACKEND, Animal, Base, Cat, Dog, Horse, a_photo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.sql.base import Executable

_ledger = ledger_of(Base.metadata)
assert _ledger is not None
LEDGER = _ledger


class Farm:
    """A database with four animals and the store of their photos."""

    def __init__(self, engine: sa.Engine, backend: LocalBackend) -> None:
        self.engine = engine
        self._backend = backend

    def execute(self, statement: Executable, parameters: list[dict[str, object]] | None = None) -> None:
        """Execute and commit."""
        with Session(self.engine) as session:
            session.execute(statement, parameters)
            session.commit()

    def photos(self) -> dict[int, set[str]]:
        """Sweep everything that is due, and return the names of the photos by row, after a look at their bytes."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(LEDGER).values(not_before=0))
        sweep(self.engine, LEDGER, storages)
        animals, horses = Animal.__table__, Horse.__table__
        found: dict[int, set[str]] = {}
        keys: set[str] = set()
        with self.engine.connect() as connection:
            for table, column in ((animals, animals.c.photo), (animals, animals.c.collar), (horses, horses.c.saddle)):
                for number, file in connection.execute(sa.select(table.c.id, column)):
                    found.setdefault(number, set())
                    if file is not None:
                        assert file.get_content() == file.filename.encode()
                        found[number].add(file.filename)
                        keys.add(file.path)
        assert keys == {info.key for info in self._backend.list()}
        return found


@pytest.fixture
def farm(url: str, tmp_path: Path) -> Iterator[Farm]:
    """A dog and a cat, whose table is one, a horse, which has a second one, and an animal of no special kind."""
    engine = sa.create_engine(url)
    backend = LocalBackend(BACKEND, tmp_path / "store", fsync=False)
    storages.register_backend(backend)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Dog(id=1, photo=a_photo("dog"), collar=a_photo("collar")))
        session.add(Cat(id=2, owner=2, photo=a_photo("cat")))
        session.add(Horse(id=3, photo=a_photo("horse"), saddle=a_photo("saddle")))
        session.add(Animal(id=4, photo=a_photo("animal")))
        session.commit()
    yield Farm(engine, backend)
    storages.unregister_backend(BACKEND)
    Base.metadata.drop_all(engine)
    engine.dispose()


ALL = {1: {"dog", "collar"}, 2: {"cat"}, 3: {"horse", "saddle"}, 4: {"animal"}}


def test_delete_of_a_class_in_a_shared_table(farm: Farm) -> None:
    """Rows of other classes in the table keep their files."""
    farm.execute(sa.delete(Cat))
    assert farm.photos() == {number: names for number, names in ALL.items() if number != 2}


def test_update_of_a_class_in_a_shared_table(farm: Farm) -> None:
    """The same for UPDATE."""
    farm.execute(sa.update(Dog).values(photo=None))
    assert farm.photos() == {**ALL, 1: {"collar"}}


def test_columns_of_subclasses(farm: Farm) -> None:
    """A DELETE on the class of a whole table takes the files that only its subclasses know along."""
    farm.execute(sa.delete(Animal).where(Animal.id == 1))
    assert farm.photos() == {number: names for number, names in ALL.items() if number != 1}


def test_criteria_in_options(farm: Farm) -> None:
    """Rows that the statement's options leave out keep their files."""
    farm.execute(sa.delete(Animal).where(Animal.id < 3).options(with_loader_criteria(Animal, Animal.owner == 2)))
    assert farm.photos() == {number: names for number, names in ALL.items() if number != 2}


@pytest.mark.parametrize("statement", [sa.delete(Animal).where(Animal.id < 3), sa.update(Animal).values(photo=None)])
def test_criteria_of_a_listener(farm: Farm, statement: Executable) -> None:
    """A statement that somebody narrows when its rows have been looked up already is refused."""

    def narrow(state: ORMExecuteState) -> None:
        if state.is_delete or state.is_update:
            state.statement = state.statement.options(with_loader_criteria(Animal, Animal.owner == 2))

    with Session(farm.engine) as session:
        event.listen(session, "do_orm_execute", narrow)
        with pytest.raises(UnsupportedOperationError, match="narrowed"):
            session.execute(statement)
    assert farm.photos() == ALL


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_returning(farm: Farm) -> None:
    """RETURNING, which hides the number of rows from some drivers, is no reason to refuse."""
    with Session(farm.engine) as session:
        statement = sa.update(Animal).where(Animal.id == 2).values(photo=a_photo("new")).returning(Animal.id)
        assert session.scalars(statement).all() == [2]
        session.commit()
    assert farm.photos() == {**ALL, 2: {"new"}}


def test_update_of_a_class_with_two_tables(farm: Farm) -> None:
    """Only the rows that it meets give up their files."""
    farm.execute(sa.update(Horse).where(Horse.id == 3).values(saddle=None).execution_options(synchronize_session=False))
    assert farm.photos() == {**ALL, 3: {"horse"}}


def test_delete_of_a_class_with_two_tables(farm: Farm) -> None:
    """A DELETE on a class empties its own table, with the files there; what its base class has stays."""
    farm.execute(sa.delete(Horse).execution_options(synchronize_session=False))
    assert farm.photos() == {**ALL, 3: {"horse"}}


@pytest.mark.parametrize(("column", "left"), [("photo", {"saddle"}), ("saddle", {"horse"})])
def test_update_by_key_in_two_tables(farm: Farm, column: str, left: set[str]) -> None:
    """By primary keys, columns of both tables can be set, and no other row is concerned."""
    farm.execute(sa.update(Horse), [{"id": 3, column: None}])
    assert farm.photos() == {**ALL, 3: left}


def test_insert_into_two_tables(farm: Farm) -> None:
    """The files of both tables are stored and linked."""
    farm.execute(sa.insert(Horse), [{"id": 5, "photo": a_photo("foal"), "saddle": a_photo("small")}])
    assert farm.photos() == {**ALL, 5: {"foal", "small"}}
