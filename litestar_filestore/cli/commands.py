"""``litestar storages``: commands that inspect and tidy backends and ledgers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import click
from litestar import Litestar
from litestar.cli._utils import LitestarGroup, console  # the two names that other plugins' commands use as well
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from litestar_filestore.cli.cors import cors_command
from litestar_filestore.core.threads import within
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ConfigurationError, LedgerError, StorageError
from litestar_filestore.ledger.adopt import adopt
from litestar_filestore.ledger.fsck import FsckConfig, fsck
from litestar_filestore.ledger.ledger import Ledger
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.places import (
    Place,
    class_names,
    classes_with_files,
    find_places,
    places_in,
    run_on,
    unhoused,
)
from litestar_filestore.plugin.keeper import find_databases
from litestar_filestore.plugin.plugin import FilestorePlugin
from litestar_filestore.plugin.sweeper import sweep_places

if TYPE_CHECKING:
    import sqlalchemy as sa

    from litestar_filestore.ledger.fsck import FsckReport
    from litestar_filestore.ledger.ledger_config import Database
    from litestar_filestore.plugin.config import FilestoreConfig

__all__ = ("storages_group",)

T = TypeVar("T")

_SHARED = (
    "Shared objects stay as long as a row holds them. To give each row a file of its own, assign a copy "
    "(row.file = row.file.copy()); afterwards 'fsck --repair' hands each object to the row that is left, or deletes it."
)
_DATABASE_SECONDS = 30.0
"""How long ``check`` waits for a database that does not answer."""


@click.group(cls=LitestarGroup, name="storages", help="Look after file storages.")
def storages_group() -> None:
    """Group of the commands below."""


@click.command(name="list", help="List the backends.")
def list_backends(app: Litestar) -> None:
    """Print a table of the configured backends."""
    table = Table("key", "service", "library", "prefix", "can")
    for backend in _config(app).backends:
        can = ", ".join(str(each.name).lower() for each in Capability if each in backend.capabilities)
        row = (backend.key, backend.protocol, backend.driver, backend.prefix or "", can)
        table.add_row(*(Text(_printable(each)) for each in row))
    console.print(table)


@click.command(name="check", help="Contact every backend and database.")
def check(app: Litestar) -> None:
    """Start every backend and find every ledger; fail if one cannot be used."""
    failed = 0
    for backend in _config(app).backends:
        try:
            anyio.run(_start_and_close, backend.start_async, backend.close_async)
        except StorageError as error:
            failed += 1
            _say(f"{backend.key}: {error.detail}", style="red")
        else:
            _say(f"{backend.key}: ok", style="green")
    failed += anyio.run(_check_ledgers, app)
    if failed:
        raise SystemExit(1)


async def _start_and_close(start: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]) -> None:
    await start()
    await close()


async def _check_ledgers(app: Litestar) -> int:
    """Look for the ledgers, and return how many databases cannot be used or lack one."""
    ledger = _config(app).ledger or LedgerConfig()
    databases = find_databases(ledger, app.plugins)
    places: list[Place] = []
    failures: dict[Database, str] = {}
    for database in databases:
        try:
            with guard_database():
                places += await within(_DATABASE_SECONDS, places_in(database))
        except (StorageError, SQLAlchemyError) as error:
            failures[database] = error.detail if isinstance(error, StorageError) else str(error)
        # Closing a connection that does not answer may hang as well.
        with suppress(TimeoutError):
            await within(_DATABASE_SECONDS, run_on(database, lambda engine: engine.dispose()))
    missing = f"has no ledger for {class_names(classes_with_files())}: create its tables with a migration"
    looked = [database for database in databases if database not in failures]
    failures |= dict.fromkeys(unhoused(looked, named=bool(ledger.engines), places=places), missing)
    for database, reason in failures.items():
        _say(f"{database.url!r} {reason}", style="red")
    if not databases and _config(app).ledger is not None and classes_with_files():
        _say(
            f"{class_names(classes_with_files())} have file columns, and no database is known: nothing is swept. Give "
            "LedgerConfig(databases=[engine]), or ledger=None if another process looks after them",
            style="red",
        )
        return 1
    _say(f"{len(places)} ledgers")
    return len(failures)


@click.command(name="sweep", help="Delete what no row needs, all that is due.")
def sweep_command(app: Litestar) -> None:
    """Sweep every ledger once."""

    async def run(places: list[Place], config: FilestoreConfig) -> str:
        result = await sweep_places(places, config.registry, config.ledger or LedgerConfig())
        return f"deleted {result.deleted}, forgotten {result.forgotten}, failed {result.failed}"

    _say(anyio.run(_with_places, app, run))


@click.command(name="adopt", help="Enter the files of existing rows into the ledger.")
def adopt_command(app: Litestar) -> None:
    """Adopt rows that were written before there was a ledger."""

    async def run(places: list[Place], _config: FilestoreConfig) -> None:
        for place in places:
            done = await run_on(place.database, partial(adopt, table=place.table, mappers=place.mappers))
            _say(f"adopted {done.adopted}, known {done.known}, shared {done.shared_count}")
            for each in done.shared:
                text = f"  {each.object.backend}:{each.object.key} is held by {', '.join(each.places)}"
                more = f" and {each.holders - len(each.places)} more" if each.holders > len(each.places) else ""
                _say(text + more)
            if done.shared_count:
                _say(_SHARED)

    anyio.run(_with_places, app, run)


@click.command(name="fsck", help="Compare rows, ledger and backends; change nothing without --repair.")
@click.option("--repair", is_flag=True, default=False, help="Enter unknown rows, doom objects that nothing needs.")
@click.option("--minimum-age", type=float, default=24 * 3600.0, show_default=True, help="In seconds.")
@click.option("--max-doomed-percent", type=float, default=10.0, show_default=True)
def fsck_command(app: Litestar, repair: bool, minimum_age: float, max_doomed_percent: float) -> None:  # noqa: FBT001  # an option of click
    """Run fsck on all ledgers; fail if rows, ledger and backends disagree."""
    config = FsckConfig(repair=repair, minimum_age_seconds=minimum_age, max_doomed_percent=max_doomed_percent)

    async def run(places: list[Place], filestore: FilestoreConfig) -> bool:
        _check_one_ledger_each(places, filestore)
        clean = True
        for place in places:

            def work(engine: sa.Engine, place: Place = place) -> FsckReport:
                return fsck(engine, place.table, place.mappers, filestore.backends, config)

            report = await run_on(place.database, work)
            _say(f"{report.objects} objects, {report.entries} entries, {report.row_files} files in rows")
            for finding in report.findings:
                _say(f"  {finding.kind}: {finding.object.backend}:{finding.object.key} {finding.detail}".rstrip())
            _say(
                f"adopted {report.adopted}, unshared {report.unshared}, doomed {report.doomed}, "
                f"recounted {report.recounted}"
            )
            clean = clean and report.is_clean
        return clean

    if not anyio.run(_with_places, app, run):
        raise SystemExit(1)


def _check_one_ledger_each(places: list[Place], config: FilestoreConfig) -> None:
    """Refuse to check a backend that several ledgers share: each would take the objects of the others for orphans."""
    for backend in config.backends:
        if len({place.identity for place in places if place.stores_in(backend.key)}) > 1:
            raise LedgerError(
                "Several ledgers store in this backend: give each database its own",
                operation="fsck",
                backend=backend.key,
            )


@click.command(name="usage", help="Print what an owner's objects take up.")
@click.argument("owner")
def usage_command(app: Litestar, owner: str) -> None:
    """Print the number and total bytes of an owner's objects."""

    async def run(places: list[Place], _config: FilestoreConfig) -> None:
        for place in places:

            def work(engine: sa.Engine, place: Place = place) -> str:
                with engine.connect() as connection:
                    used = Ledger(place.table).usage(connection, owner)
                return (
                    f"{used.objects} objects, {used.bytes} bytes; "
                    f"{used.doomed_objects} objects, {used.doomed_bytes} bytes of them are to be deleted"
                )

            _say(await run_on(place.database, work))

    anyio.run(_with_places, app, run)


def _say(line: str, *, style: str | None = None) -> None:
    """Print a line literally: keys and messages of stores must not be read as markup, emoji or colours."""
    console.print(Text(_printable(line), style=style or ""), soft_wrap=True)


def _printable(text: str) -> str:
    """Escape what is not printable: keys in a bucket may come from anybody and hold terminal escape sequences."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _config(app: Litestar) -> FilestoreConfig:
    for plugin in app.plugins:
        if isinstance(plugin, FilestorePlugin):
            return plugin.config
    raise ConfigurationError("The application has no FilestorePlugin: add it to Litestar(plugins=[...])")


async def _with_places(app: Litestar, work: Callable[[list[Place], FilestoreConfig], Awaitable[T]]) -> T:
    """Open the backends and find the ledgers outside the application's lifespan, then await `work` on them."""
    config = _config(app)
    databases = find_databases(config.ledger or LedgerConfig(), app.plugins)
    async with config.opened():
        try:
            return await work(await find_places(databases), config)
        finally:
            for database in databases:
                await run_on(database, lambda engine: engine.dispose())


for _command in (list_backends, check, sweep_command, adopt_command, fsck_command, usage_command):
    storages_group.add_command(cast("Any", _command))  # any kind of command will do
storages_group.add_command(cast("Any", cors_command))
