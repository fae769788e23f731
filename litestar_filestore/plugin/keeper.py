"""Looks after the ledgers of an application while it runs: finds them, sweeps them, and enforces quotas."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.threads import within
from litestar_filestore.errors import DatabaseUnavailableError, LedgerMissingError, StorageError
from litestar_filestore.ledger.conversations import close_in_time
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.places import class_names, classes_with_files, places_in, unhoused
from litestar_filestore.ledger.quota import enforce_quota
from litestar_filestore.ledger.staging import sync_engine
from litestar_filestore.plugin.look_again import LONGEST_PAUSE_SECONDS, look_again
from litestar_filestore.plugin.sweeper import STOP_SECONDS, Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import sqlalchemy as sa

    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.ledger.ledger_config import Database, LedgerConfig
    from litestar_filestore.ledger.places import Place

__all__ = ("LedgerKeeper", "find_databases")

logger = logging.getLogger("litestar_filestore")

_START_SECONDS = 5.0
"""How long the start waits for a database that does not answer. Drivers wait for a minute, or for ever."""
_RARE_PAUSE_SECONDS = 300.0
"""Pause between two checks for what may never come, such as the tables of a class that another application maps."""
_HANGING = 4
"""How many hanging checks are left alone in their threads; further checks wait for one of them to end."""


def find_databases(config: LedgerConfig, plugins: Iterable[object]) -> list[Database]:
    """Return the engines that `config` names, otherwise those of Advanced Alchemy's plugin among `plugins`.

    The plugin is recognised by its shape (``config`` holds objects with ``get_engine``), so this package does not
    depend on it.
    """
    if config.engines:
        return list(config.engines)
    engines: dict[Database, None] = {}
    for plugin in plugins:
        found: Any = getattr(plugin, "config", None)
        configs: list[Any] = list(found) if isinstance(found, (list, tuple)) else [found]  # pyright: ignore[reportUnknownArgumentType]
        for each in configs:
            if callable(getattr(each, "get_engine", None)):
                engines[each.get_engine()] = None
    return list(engines)


class LedgerKeeper:
    """Finds the ledgers of one application, and starts the sweeper and the quota checks for them."""

    def __init__(self, config: LedgerConfig, registry: StorageRegistry, databases: Sequence[Database]) -> None:
        """Prepare; nothing is contacted yet."""
        self._config = config
        self._registry = registry
        self._databases = databases
        self._places: dict[int, list[Place]] = {}
        """The ledgers that were found, by the index of the database in the list."""
        self._away: set[int] = set(range(len(databases)))
        self._said: set[str] = set()
        """Messages about missing ledgers that have been logged already."""
        self._hanging: dict[int, set[asyncio.Future[list[Place]]]] = {}
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._quotas: dict[sa.Table, Callable[[], None]] = {}
        self._sweepers: list[Sweeper] = []
        self._swept: set[tuple[Database, sa.Table]] = set()

    async def start(self, found: Callable[[Sequence[Place], Callable[[], None] | None], None]) -> None:
        """Examine all databases, start the work for their ledgers, and keep looking for missing ledgers.

        Args:
            found: Called first, with the known ledgers and, if others may be missing because a database is away, with a
                function that looks for them.

        Raises:
            ConfigurationError: If a ledger is missing, or `found` refuses them.
            Exception: If a database cannot be examined, for another reason than an outage.
        """
        self._found = found
        for database in self._databases:
            close_in_time(sync_engine(database))
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
        self._use()
        if self._say_what_is_missing():
            self._looking = asyncio.create_task(look_again(self._look, self._wake), name="litestar-filestore ledgers")

    async def stop(self) -> None:
        """Stop everything, and wait for current work, for some seconds at most."""
        for end in self._quotas.values():
            end()
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(sweeper.stop() for sweeper in self._sweepers))
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=STOP_SECONDS)

    def _use(self) -> None:
        """Start the work for the known ledgers, in the order of the databases."""
        places = [place for number in sorted(self._places) for place in self._places[number]]
        self._found(places, self._wake.set if self._away else None)
        if self._config.quota is not None:
            for table in (table for place in places for table in place.tables):
                if table not in self._quotas:
                    self._quotas[table] = enforce_quota(table, self._config.quota)
        new = [place for place in places if (place.database, place.table) not in self._swept]
        if self._config.run_sweeper and new:
            self._swept.update((place.database, place.table) for place in new)
            sweeper = Sweeper(new, self._registry, self._config)
            self._sweepers.append(sweeper)
            sweeper.start()

    async def _try(self, number: int, *, beside: bool = False) -> None:
        """Examine one database, within a time limit.

        Raises:
            DatabaseUnavailableError: If it is away.
        """
        hanging = self._hanging.setdefault(number, set())
        if len(hanging) >= _HANGING:
            raise DatabaseUnavailableError("The database does not answer; try again later")
        look = asyncio.ensure_future(places_in(self._databases[number], beside=beside))
        hanging.add(look)
        look.add_done_callback(hanging.discard)
        with guard_database():
            self._places[number] = await within(_START_SECONDS, look)
        self._away.discard(number)

    async def _look(self) -> float:
        """Examine all databases again; see `look_again`."""
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
                # There is no caller to raise to, and a repair should not need a restart of the application.
                logger.exception("The database %r cannot be looked into; it is tried again", database.url)
            else:
                if number in away or self._places[number] != before.get(number):
                    # A warning, because readers of the message that it is missing want to know.
                    logger.warning("The database %r is there, with %d ledgers", database.url, len(self._places[number]))
        if self._places != before or self._away != away:
            try:
                self._use()
            except StorageError:
                logger.exception("The ledgers that were found do not fit the application")
        return self._say_what_is_missing()

    def _say_what_is_missing(self) -> float:
        """Log missing ledgers once, and return the longest pause before the next check; 0 if none is missing."""
        places = [place for found in self._places.values() for place in found]
        looked = [each for number, each in enumerate(self._databases) if number not in self._away]
        if without := unhoused(looked, named=bool(self._config.engines), places=places):
            where = ", ".join(repr(database.url) for database in without)
            self._say(
                f"There is no ledger in {where}: nothing is swept there until a migration, or metadata.create_all(), "
                f"has made the tables of {class_names(classes_with_files())}. The application looks again"
            )
        if without or self._away:
            return LONGEST_PAUSE_SECONDS
        housed = {mapper for place in places for mapper in place.mappers}
        if self._databases and any(mapper not in housed for mapper in classes_with_files()):
            return _RARE_PAUSE_SECONDS  # the class is another application's, or the next migration makes its table
        return 0.0

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)
