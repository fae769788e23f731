"""An import changes nothing in the process: sessions are followed from the first file column on."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = """
import sys
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

class Base(DeclarativeBase):
    pass

class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

engine = sa.create_engine("sqlite://")
Base.metadata.create_all(engine)

def work():
    with Session(engine) as session:
        session.add_all([Plain(name=str(number)) for number in range(20)])
        session.flush()
        rows = session.scalars(sa.select(Plain)).all()
        rows[0].name = "changed"
        session.delete(rows[1])
        session.commit()
        session.execute(sa.update(Plain).values(name="all"))
        session.execute(sa.delete(Plain))
        session.commit()

def count():
    calls = 0
    def called(_frame, event, _arg):
        nonlocal calls
        calls += event in {"call", "c_call"}
    for _ in range(3):
        work()  # fills SQLAlchemy's caches
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
"""


def run(code: str, *arguments: str) -> str:
    """Run `code` in a process of its own and return what it prints."""
    done = subprocess.run(  # our own code
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import litestar_filestore.orm",
        "from litestar_filestore import StoredObject; StoredObject('files')",
        "from litestar_filestore.orm import StoredObject; StoredObject('files')",
        "import litestar_filestore.ledger.sweep, litestar_filestore.ledger.fsck",
    ],
)
def test_no_litestar_below_http(statement: str) -> None:
    """Columns, ledger and tracking do not load Litestar."""
    code = f"""
import sys
{statement}
print([name for name in sys.modules if name.split(".")[0] in {{"litestar", "advanced_alchemy"}}])
"""
    assert run(code) == "[]"


@pytest.mark.parametrize(
    "name", ["litestar_filestore", "litestar_filestore.orm", "litestar_filestore.orm.stored_object"]
)
def test_no_effect_on_other_models(name: str) -> None:
    """A program that imports the package and has other models runs as many calls for a flush as without it."""
    assert run(f"{COUNTED}\nprint(count())") == run(f"import {name}\n{COUNTED}\nprint(count())")


def test_effect_of_a_file_column() -> None:
    """Sessions without files pay for a glance per flush, transaction and statement once there is a file column."""
    code = f"""
{COUNTED}
from litestar_filestore import StoredObject
before = count()
StoredObject("files")
print(before, count())
"""
    before, after = map(int, run(code).split())
    assert before < after < before * 1.05


def test_nothing_is_replaced() -> None:
    """SQLAlchemy's classes keep their attributes, and their listeners come with the first column."""
    code = """
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Mapper, Session

def attributes():
    kinds = (Session, Mapper, Engine, sa.Connection)
    return {(kind, name): value for kind in kinds for name, value in vars(kind).items() if name != "_has_events"}

def followed():
    return [name for name in ("before_flush", "do_orm_execute", "after_begin") if [*getattr(Session().dispatch, name)]]

before = attributes()
from litestar_filestore.orm import StoredObject
print(followed())
sa.Table("files", sa.MetaData(), sa.Column("file", StoredObject("files")))
assert attributes() == before
print(followed())
"""
    assert run(code).splitlines() == ["[]", "['before_flush', 'do_orm_execute']"]


SHAPES = """
import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase, Mapped, Session, column_property, configure_mappers, mapped_column, registry
)

class Base(DeclarativeBase):
    pass

class Animal(Base):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]

configure_mappers()
engine = sa.create_engine("sqlite:///" + sys.argv[1] + "/test.db")
Base.metadata.create_all(engine)
with engine.begin() as connection:
    connection.exec_driver_sql("CREATE TABLE reflected (id INTEGER PRIMARY KEY, file JSON)")
with Session(engine) as early:
    early.add(Animal(id=100))
    early.commit()
    early.get_one(Animal, 100)

    from litestar_filestore.orm import StoredObject
    from litestar_filestore import FileObject, LocalBackend, storages
    from litestar_filestore.ledger.table import ledger_of

    storages.register_backend(LocalBackend("files", sys.argv[1] + "/files"))
    column = lambda **options: mapped_column(StoredObject("files"), **options)

    class Dog(Animal):
        __tablename__ = "dog"
        __mapper_args__ = {"polymorphic_identity": "dog"}
        id: Mapped[int] = mapped_column(sa.ForeignKey("animal.id"), primary_key=True)
        file: Mapped[FileObject] = column()

    class Cat(Animal):
        __mapper_args__ = {"polymorphic_identity": "cat"}
        file: Mapped[FileObject] = column(nullable=True)

    class Fish(Animal):
        __tablename__ = "fish"
        __mapper_args__ = {"concrete": True, "polymorphic_identity": "fish"}
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(default="fish")
        file: Mapped[FileObject] = column()

    class HasFile:
        file: Mapped[FileObject] = column()

    class Abstract(HasFile, Base):
        __abstract__ = True
        id: Mapped[int] = mapped_column(primary_key=True)

    class Page(Abstract):
        __tablename__ = "page"

    class Wrapped(Base):
        __table__ = sa.Table(
            "wrapped", Base.metadata,
            sa.Column("id", sa.Integer, primary_key=True), sa.Column("f", StoredObject("files")),
        )
        file = column_property(__table__.c.f)

    class Imperative:
        pass

    registry(metadata=Base.metadata).map_imperatively(
        Imperative,
        sa.Table("reflected", Base.metadata, sa.Column("file", StoredObject("files")), autoload_with=engine),
    )

    class Retyped(Base):
        __table__ = sa.Table("reflected", sa.MetaData(), autoload_with=engine)
        __table__.c.file.type = StoredObject("files")

    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE animal ADD COLUMN file JSON")
    for number, kind in enumerate((Dog, Cat, Fish, Page, Wrapped, Imperative, Retyped)):
        row = kind()
        row.id, row.file = number, FileObject("files", "a.txt", content=b"first")
        early.add(row)
        early.commit()
        row.file = FileObject("files", "a.txt", content=b"second")
        early.flush()
        early.rollback()
        assert row.file.get_content() == b"first"
        row.file.update_metadata({"seen": True})
        early.commit()
        assert row.file.metadata == {"seen": True}, kind
        linked = sa.select(ledger_of(Base.metadata)).where(sa.text("state = 'linked'"))
        print(kind.__name__, len(early.execute(linked).all()))
"""


def test_every_shape_of_model(tmp_path: Path) -> None:
    """Classes that come late are followed, whatever they inherit and however they are mapped, in older sessions too."""
    printed = run(f"import sys\n{SHAPES}", str(tmp_path)).splitlines()
    # The last table got its type when nobody could hear of it, so it has no ledger beside it.
    assert printed == ["Dog 1", "Cat 2", "Fish 3", "Page 4", "Wrapped 5", "Imperative 6", "Retyped 6"]


def test_copies_of_a_type() -> None:
    """A type that was pickled, as part of a metadata, starts the same as a new one."""
    code = """
import pickle, subprocess, sys
if len(sys.argv) > 1:
    from sqlalchemy.orm import Session
    pickle.loads(bytes.fromhex(sys.argv[1]))
    assert [*Session().dispatch.before_flush]
else:
    from litestar_filestore import StoredObject
    print(pickle.dumps(StoredObject("files")).hex())
"""
    run(code, run(code))
