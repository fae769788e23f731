"""Which databases an application's ledgers live in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import Mapper, configure_mappers, sessionmaker
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import run_blocking, within
from litestar_filestore.errors import ConfigurationError, DatabaseUnavailableError, LedgerMissingError, StorageError
from litestar_filestore.ledger.conversations import close_in_time
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.quota import QuotaCheck
from litestar_filestore.ledger.residence import Residents, find_ledgered, find_residents
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.ledger.table import LEDGER_TABLE, ledger_of
from litestar_filestore.orm.columns import configured_mappers

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = (
    "LONGEST_PAUSE_SECONDS",
    "Database",
    "LedgerConfig",
    "LedgerFinder",
    "Place",
    "class_names",
    "classes_with_files",
    "find_databases",
    "find_places",
    "look_again",
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


logger = logging.getLogger("litestar_filestore")

_START_SECONDS = 5.0
"""So long an application's start waits for a database that does not answer. Drivers wait for a minute, or for ever."""
_SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""Between two looks at what is away."""
_RARE_PAUSE_SECONDS = 300.0
"""Between two looks for what may never come, such as the tables of a class that another application maps."""
_HANGING = 4
"""So many looks that hang in threads are left to themselves; further ones wait for one of them to end."""


async def look_again(look: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
    """Call `look` at growing intervals until it has found everything.

    Args:
        look: Returns the longest pause before the next call, 0 if there is nothing more to look for.
        wake: Ends a pause early. It is never shorter than a second, however often somebody asks.
    """
    pause = longest = _SHORTEST_PAUSE_SECONDS
    while longest:
        await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), pause - _SHORTEST_PAUSE_SECONDS)
        wake.clear()
        longest = await look()
        pause = min(pause * 2, longest)


class Found(Protocol):
    """Is told what a `LedgerFinder` knows."""

    def __call__(self, places: Sequence[Place], *, is_away: bool) -> None:
        """Take all ledgers that are known, and whether a database has not been looked into yet."""


class LedgerFinder:
    """Looks for the ledgers in databases, and tells of those that it finds."""

    def __init__(self, databases: Sequence[Database], *, named: bool, found: Found) -> None:
        """Prepare; nothing is contacted yet.

        Args:
            databases: Where to look.
            named: See `unhoused`.
            found: Told of what is known, and again whenever that changes.
        """
        self._databases = databases
        self._named = named
        self._found = found
        self._places: dict[int, list[Place]] = {}
        """What was found, by the place of the database in the list."""
        self._away: set[int] = set(range(len(databases)))
        self._said: set[str] = set()
        """What the log says already about ledgers that are missing."""
        self._hanging: dict[int, set[asyncio.Future[list[Place]]]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def places(self) -> list[Place]:
        """The ledgers that were found so far, in the order of the databases."""
        return [place for number in sorted(self._places) for place in self._places[number]]

    async def start(self) -> None:
        """Look into all databases, and go on to look for what is not there.

        Raises:
            LedgerMissingError: If a database has rows with files and no ledger.
            Exception: If a database refuses to be looked into, for another reason than an outage.
        """
        for database in self._databases:
            close_in_time(database.sync_engine if isinstance(database, AsyncEngine) else database)
        outcomes = await asyncio.gather(*map(self._try, range(len(self._databases))), return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, DatabaseUnavailableError):
                logger.warning(
                    "The database %r is away. The application starts without it and looks again; until then uploads "
                    "for its rows are answered 503, and nothing in it is swept: %s",
                    self._databases[number].url,
                    outcome.__cause__ or outcome.detail,
                )
            elif isinstance(outcome, BaseException):
                raise outcome
        self._found(self.places, is_away=bool(self._away))
        if self._say_what_is_missing():
            self._task = asyncio.create_task(look_again(self._look, self._wake), name="litestar-filestore ledgers")

    def wake(self) -> None:
        """Look again soon."""
        self._wake.set()

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop to look, and return what ends with that."""
        if self._task is None:
            return []
        self._task.cancel()
        return [self._task]

    async def _try(self, number: int, *, beside: bool = False) -> None:
        """Look into one database, for a while.

        Raises:
            DatabaseUnavailableError: If it is away.
        """
        hanging = self._hanging.setdefault(number, set())
        if len(hanging) >= _HANGING:
            raise DatabaseUnavailableError("The database does not answer")
        look = asyncio.ensure_future(places_in(self._databases[number], beside=beside))
        hanging.add(look)
        look.add_done_callback(hanging.discard)
        with guard_database():
            self._places[number] = await within(_START_SECONDS, look)
        self._away.discard(number)

    async def _look(self) -> float:
        """Look into all databases again; see `look_again`."""
        before, away = dict(self._places), set(self._away)
        for number, database in enumerate(self._databases):
            try:
                await self._try(number, beside=True)
            except DatabaseUnavailableError as error:
                logger.debug("The database %r is still away: %s", database.url, error)
            except LedgerMissingError as error:
                self._away.discard(number)
                self._say(error.detail)
            except Exception:
                # There is no caller to raise to, and whoever mends it should not have to start the application again.
                logger.exception("The database %r cannot be looked into; it is tried again", database.url)
            else:
                if number in away or self._places[number] != before.get(number):
                    # A warning, as who was told that it is missing wants to know.
                    logger.warning("The database %r is there, with %d ledgers", database.url, len(self._places[number]))
        if self._places != before or self._away != away:
            self._tell()
        return self._say_what_is_missing()

    def _tell(self) -> None:
        try:
            self._found(self.places, is_away=bool(self._away))
        except StorageError:
            logger.exception("The ledgers that were found do not fit the application")

    def _say_what_is_missing(self) -> float:
        """Log what is missing, once, and return the longest pause before the next look; 0 if nothing is."""
        looked = [each for number, each in enumerate(self._databases) if number not in self._away]
        if without := unhoused(looked, named=self._named, places=self.places):
            where = ", ".join(repr(database.url) for database in without)
            self._say(
                f"There is no ledger in {where}: nothing is swept there until a migration, or metadata.create_all(), "
                f"has made the tables of {class_names(classes_with_files())}. The application looks again"
            )
        if without or self._away:
            return LONGEST_PAUSE_SECONDS
        housed = {mapper for place in self.places for mapper in place.mappers}
        if self._databases and any(mapper not in housed for mapper in classes_with_files()):
            return _RARE_PAUSE_SECONDS  # of another application, or the next migration makes its table
        return 0.0

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)
