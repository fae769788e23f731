"""A ledger that an earlier version made, and what migrations make of it."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations

from litestar_filestore.errors import LedgerMissingError
from litestar_filestore.ledger.ledger import Ledger
from litestar_filestore.ledger.migrations import DowngradeFilestoreLedger, UpgradeFilestoreLedger
from litestar_filestore.ledger.places import find_places
from litestar_filestore.ledger.staging import staging_engine, transact
from tests.ledger.models import Base
from tests.ledger.places import prepare
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Migrate = Callable[[sa.Connection], None]


@contextmanager
def operations(context: MigrationContext) -> Iterator[Any]:
    """Return Alembic's ``op``; its type does not know operations that are registered."""
    with Operations.context(context) as op:
        yield op


def upgrade(connection: sa.Connection) -> None:
    """Run the package's own operation."""
    with operations(MigrationContext.configure(connection)) as op:
        op.upgrade_filestore_ledger()


def downgrade(connection: sa.Connection) -> None:
    """Run the operation that takes it back."""
    with operations(MigrationContext.configure(connection)) as op:
        op.downgrade_filestore_ledger()


def autogenerate(connection: sa.Connection) -> None:
    """Run what Alembic finds out by itself."""
    context = MigrationContext.configure(connection)
    found = produce_migrations(context, Base.metadata).upgrade_ops
    assert found is not None
    alembic = Operations(context)
    for each in found.ops:
        for step in getattr(each, "ops", [each]):
            alembic.invoke(step)


@pytest.fixture
def old(url: str, tmp_path: Path) -> Iterator[World]:
    """A world with the tables of the first version, and three rows."""
    engine = prepare(sa.create_engine(url))
    world = World(engine, tmp_path / "store")
    Base.metadata.drop_all(engine)
    world.create()
    with engine.begin() as connection:
        downgrade(connection)
    yield world
    assert world.damage() == []
    world.recover()
    assert world.leftovers() == []
    world.close()
    Base.metadata.drop_all(engine)
    engine.dispose()


def run(world: World, migrate: Migrate) -> None:
    """Migrate in a transaction."""
    with world.engine.begin() as connection:
        migrate(connection)


def differences(world: World) -> list[object]:
    """Return what Alembic would still change."""
    with world.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def definitions(world: World) -> str:
    """Return how the database says that the indexes of the ledger are made."""
    statement = {
        "sqlite": f"SELECT sql FROM sqlite_master WHERE tbl_name = '{LEDGER.name}' AND type = 'index'",  # noqa: S608
        "postgresql": f"SELECT indexdef FROM pg_indexes WHERE tablename = '{LEDGER.name}'",  # noqa: S608
    }
    with world.engine.connect() as connection:
        return "\n".join(filter(None, connection.exec_driver_sql(statement[connection.dialect.name]).scalars()))


@pytest.mark.parametrize("migrate", [upgrade, autogenerate])
def test_ledger_of_an_earlier_version(old: World, migrate: Migrate) -> None:
    """Our operation and Alembic's own both make what a new database has, and the entries stay."""
    with old.engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {LEDGER.name} (backend, {'`key`' if 'mysql' in str(old.engine.url) else 'key'}, state, size, "  # noqa: S608
            "created_at, not_before, attempts, owner) VALUES ('elsewhere', 'a', 'kept', 1, 0, 0, 0, 'alice')"
        )
    run(old, migrate)
    assert differences(old) == []
    old.seed()
    beside = staging_engine(old.engine)
    assert beside is not None
    transact(beside, lambda connection: Ledger(LEDGER).want_counter(connection, "alice"))
    old.sweep()
    with old.engine.begin() as connection:
        assert Ledger(LEDGER).usage(connection, "alice").objects == 1
        connection.execute(sa.delete(LEDGER).where(LEDGER.c.backend == "elsewhere"))
        connection.execute(sa.text("DELETE FROM filestore_usage"))


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("migrate", [upgrade, autogenerate])
def test_indexes_are_partial(old: World, migrate: Migrate) -> None:
    """They leave out what is linked, and what is counted."""
    run(old, migrate)
    assert definitions(old).upper().count(" WHERE ") == 2


def test_there_and_back(old: World) -> None:
    """The way back leaves what an earlier version can work with, and the way there can be gone again."""
    run(old, upgrade)
    old.seed()
    run(old, downgrade)
    assert {each[0] for each in differences(old) if isinstance(each, tuple)} >= {"add_column", "add_table"}
    run(old, upgrade)
    assert differences(old) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_application_tells_what_is_missing(old: World) -> None:
    """An application with a ledger of an earlier version does not start, and says what the database lacks."""
    with pytest.raises(LedgerMissingError, match=r"'filestore_object\.counted', 'filestore_usage'.*with a migration"):
        await find_places([old.engine])
    run(old, upgrade)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_without_keeping_anyone_from_writing(old: World) -> None:
    """PostgreSQL makes the indexes outside of a transaction, as it does for those that others may write beside."""
    with old.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        with operations(context) as op, context.begin_transaction(), context.autocommit_block():
            op.upgrade_filestore_ledger(concurrently=True)
    assert differences(old) == []


def test_sql_for_a_schema() -> None:
    """Offline, the operation is written as SQL, for the schema that is named."""
    written = io.StringIO()
    options = {"as_sql": True, "output_buffer": written}
    with operations(MigrationContext.configure(dialect_name="postgresql", opts=options)) as op:
        op.upgrade_filestore_ledger(schema="tenant")
    assert "CREATE TABLE tenant.filestore_usage" in written.getvalue()
    assert "ALTER TABLE tenant.filestore_object ADD COLUMN counted SMALLINT DEFAULT '0' NOT NULL" in written.getvalue()


def test_operations_undo_each_other() -> None:
    """Alembic can turn each into the other one."""
    there = UpgradeFilestoreLedger(schema="tenant", concurrently=True)
    back = there.reverse()
    assert isinstance(back, DowngradeFilestoreLedger)
    assert (back.schema, back.concurrently) == ("tenant", True)
    assert isinstance(back.reverse(), UpgradeFilestoreLedger)
