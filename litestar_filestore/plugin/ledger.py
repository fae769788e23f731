"""Which databases an application's ledgers live in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import Mapper, configure_mappers, sessionmaker
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import ConfigurationError, LedgerMissingError
from litestar_filestore.orm.columns import known_mappers
from litestar_filestore.orm.ledger_table import LEDGER_TABLE, ledger_of
from litestar_filestore.orm.quota import QuotaCheck
from litestar_filestore.orm.rows import mappers_with_files
from litestar_filestore.orm.sweep import SweepConfig

__all__ = ("Database", "LedgerConfig", "Place", "find_databases", "find_places", "run_on")

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


async def run_on(database: Database, function: Callable[[sa.Engine], Any]) -> Any:
    """Run `function` with the engine of `database` without blocking the event loop, and return what it returns.

    Storage is called asynchronously for an async engine, and in the worker thread of `function` for a sync one.
    """
    if isinstance(database, AsyncEngine):
        return await greenlet_spawn(partial(function, database.sync_engine))
    return await run_blocking(partial(function, database))


async def find_places(databases: Sequence[Database]) -> list[Place]:
    """Return the ledgers of those mapped classes with file columns whose tables are in `databases`.

    Classes that share a ledger share a place, also those of different metadata: `fsck` has to know all rows that may
    hold an object.

    Raises:
        LedgerMissingError: If a class has its table in a database that lacks its ledger: its first file would fail.
    """
    configure_mappers()
    places: list[Place] = []
    for database in databases:
        places += await run_on(database, partial(_places_in, database, known_mappers()))
    return places


def _places_in(database: Database, mappers: Sequence[Mapper[Any]], engine: sa.Engine) -> list[Place]:
    found: dict[str, Place] = {}
    missing: list[str] = []
    with engine.connect() as connection:
        has_table = sa.inspect(connection).has_table
        tables = (mapper.local_table for mapper in mappers)
        for metadata in dict.fromkeys(table.metadata for table in tables if isinstance(table, sa.Table)):
            ledger = ledger_of(metadata)
            if ledger is None:
                continue
            here = [
                mapper
                for mapper in mappers_with_files(metadata, mappers)
                if isinstance(table := mapper.local_table, sa.Table) and has_table(table.name, schema=table.schema)
            ]
            if not here:
                continue
            if not has_table(ledger.name, schema=ledger.schema):
                missing += [mapper.class_.__name__ for mapper in here]
                continue
            known = found.get(ledger.fullname, Place(database, ledger, ()))
            found[ledger.fullname] = known._replace(mappers=(*known.mappers, *here))
    if missing:
        raise LedgerMissingError(
            f"The database with the rows of {', '.join(missing)} has no table {LEDGER_TABLE!r}: create it there with "
            "the models' metadata or a migration"
        )
    return list(found.values())
