"""Which databases an application's ledgers live in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import Mapper, configure_mappers, sessionmaker
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import ConfigurationError, LedgerMissingError
from litestar_filestore.orm.columns import configured_mappers
from litestar_filestore.orm.ledger_table import LEDGER_TABLE, ledger_of
from litestar_filestore.orm.quota import QuotaCheck
from litestar_filestore.orm.residence import Residents, find_ledgered, find_residents
from litestar_filestore.orm.staging import staging_engine
from litestar_filestore.orm.sweep import SweepConfig

__all__ = (
    "Database",
    "LedgerConfig",
    "Place",
    "class_names",
    "classes_with_files",
    "find_databases",
    "find_places",
    "places_in",
    "run_on",
    "unhoused",
)

Database: TypeAlias = sa.Engine | AsyncEngine
"""What a ledger is reached through."""


@dataclass
class LedgerConfig:
    """How an application looks after the objects of its rows."""

    databases: Sequence[Database | sessionmaker[Any] | async_sessionmaker[Any]] = ()
    """Engines, or session makers bound to one, of all databases with file columns. Empty takes those of Advanced
    Alchemy's ``SQLAlchemyPlugin``."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """What is deleted when."""
    run_sweeper: bool = True
    """Whether this process sweeps. One process that does is enough; any number may."""
    sweep_interval_seconds: float = 60.0
    """Time between two sweeps; a commit that gave objects up wakes this process's sweeper earlier."""
    quota: QuotaCheck | None = None
    """Raises `QuotaExceededError` to refuse a new object, given its owner and what the owner's objects take up with it.
    Asked for objects with an owner (`owner_of_new_objects`), in all databases; must not wait for anything."""

    engines: tuple[Database, ...] = field(init=False)
    """The engines of `databases`."""

    def __post_init__(self) -> None:
        """Check what can be checked without a database.

        Raises:
            ConfigurationError: If a session maker is bound to nothing, or the interval is not positive.
        """
        self.engines = tuple(_engine_of(each) for each in self.databases)
        if self.sweep_interval_seconds <= 0:
            raise ConfigurationError("sweep_interval_seconds is greater than 0")


def _engine_of(database: Any) -> Database:
    if isinstance(database, (sa.Engine, AsyncEngine)):
        return database
    bind = getattr(database, "kw", {}).get("bind")
    if not isinstance(bind, (sa.Engine, AsyncEngine)):
        raise ConfigurationError("LedgerConfig.databases takes engines and session makers that are bound to one")
    return bind


def find_databases(plugins: Iterable[object]) -> list[Database]:
    """Return the engines of Advanced Alchemy's plugin among `plugins`.

    Told by its shape (``config`` holds objects with ``get_engine``), so that this package does not depend on it.
    """
    engines: dict[Database, None] = {}
    for plugin in plugins:
        configs: Any = getattr(plugin, "config", None)
        found: list[Any] = list(configs) if isinstance(configs, (list, tuple)) else [configs]  # pyright: ignore[reportUnknownArgumentType]
        for config in found:
            if callable(getattr(config, "get_engine", None)):
                engines[config.get_engine()] = None
    return list(engines)


class Place(NamedTuple):
    """One ledger: a table in a database, and the classes whose files it knows."""

    database: Database
    """Where."""
    table: sa.Table
    """The ledger's table."""
    mappers: tuple[Mapper[Any], ...]
    """Mapped classes with file columns beside it."""

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """The ledger's table as each metadata of these classes has it."""
        metadata = dict.fromkeys(cast("sa.Table", mapper.local_table).metadata for mapper in self.mappers)
        return tuple(table for each in metadata if (table := ledger_of(each)) is not None)


async def run_on(database: Database, function: Callable[[sa.Engine], Any]) -> Any:
    """Run `function` with the engine of `database` without blocking the event loop, and return what it returns.

    Storage is called asynchronously for an async engine, and in the worker thread of `function` for a sync one.
    """
    if isinstance(database, AsyncEngine):
        return await greenlet_spawn(partial(function, database.sync_engine))
    return await run_blocking(partial(function, database))


async def find_places(databases: Sequence[Database]) -> list[Place]:
    """Return the ledgers of those mapped classes whose rows with files are in `databases`.

    Classes that share a ledger share a place, also those of different metadata: `fsck` has to know all rows that may
    hold an object. Classes of which a database has no file column have nothing to do with it, whatever their tables are
    called.

    Raises:
        LedgerMissingError: If a class has its rows in a database that lacks its ledger: its first file would fail.
    """
    return [place for database in databases for place in await places_in(database)]


async def places_in(database: Database, *, beside: bool = False) -> list[Place]:
    """Return the ledgers in one database; see `find_places`.

    Args:
        database: Where to look.
        beside: Whether to look from the pool for short transactions, where there is one. A connection that hangs is
            then none of the application's.

    Raises:
        LedgerMissingError: If a class has its rows there and the ledger is not.
    """
    configure_mappers()
    residents: Residents = await run_on(database, partial(_look_into, configured_mappers(), beside=beside))
    if residents.homeless:
        raise LedgerMissingError(
            f"The database with the rows of {class_names(residents.homeless)} has no table {LEDGER_TABLE!r}: create it "
            "there with the models' metadata or a migration"
        )
    return [Place(database, ledger, its) for ledger, its in residents.housed]


def _look_into(mappers: Sequence[Mapper[Any]], engine: sa.Engine, *, beside: bool) -> Residents:
    engine = (staging_engine(engine) if beside else None) or engine
    with engine.connect() as connection:
        return find_residents(connection, mappers)


def classes_with_files() -> list[Mapper[Any]]:
    """Return the mapped classes of this process whose files a ledger has to know."""
    configure_mappers()
    return find_ledgered(configured_mappers())


def class_names(mappers: Iterable[Mapper[Any]]) -> str:
    """Return the names of mapped classes as a text."""
    return ", ".join(dict.fromkeys(mapper.class_.__name__ for mapper in mappers))


def unhoused(databases: Sequence[Database], *, named: bool, places: Sequence[Place]) -> list[Database]:
    """Return the databases that lack a ledger although they should have one.

    Args:
        databases: Those that were looked into.
        named: Whether the application has said that they hold files. Of those of Advanced Alchemy's plugin some may
            not, so there it is enough if one has a ledger.
        places: The ledgers that were found.
    """
    if not classes_with_files() or (places and not named):
        return []
    housed = [place.database for place in places]
    return [database for database in databases if database not in housed]
