"""``litestar storages``: commands that inspect and tidy backends and ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import anyio
import click
import sqlalchemy as sa
from litestar import Litestar
from litestar.cli._utils import LitestarGroup  # other plugins' commands use it as well
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, configure_mappers

from litestar_filestore.backends.moving.mover import MoveConfig, Mover, MoveReport
from litestar_filestore.backends.moving.moving_backend import MovingBackend
from litestar_filestore.cli.cors import cors_command
from litestar_filestore.cli.printing import (
    StoragesCommand,
    finish,
    is_shown,
    printable,
    progress,
    reason_of,
    say,
    show_table,
)
from litestar_filestore.cli.probes import place_of, probe
from litestar_filestore.cli.reports import (
    AdoptedLedger,
    AdoptReport,
    BackendEntry,
    CheckedLedger,
    CheckedLedgers,
    CheckReport,
    DatabaseCheck,
    FindingEntry,
    LedgerUsage,
    ListReport,
    MigrateReport,
    MissingEntry,
    OwnerUsage,
    SharedEntry,
    Skipped,
    StateUsage,
    SweepReport,
    UsageReport,
)
from litestar_filestore.cli.row_facts import RowFacts
from litestar_filestore.core.backend import StorageBackend
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
from litestar_filestore.ledger.sweep import SweepResult, count_due
from litestar_filestore.ledger.table import ledger_of
from litestar_filestore.orm.columns import configured_mappers, single_table_columns
from litestar_filestore.plugin.config import FilestoreConfig, open_backends
from litestar_filestore.plugin.keeper import find_databases
from litestar_filestore.plugin.plugin import config_of
from litestar_filestore.plugin.sweeper import sweep_places
from litestar_filestore.validation.rules import parse_size

if TYPE_CHECKING:
    from litestar_filestore.ledger.fsck import FsckReport
    from litestar_filestore.ledger.ledger_config import Database

__all__ = ("storages_group",)

T = TypeVar("T")

_SHARED = (
    "Shared objects stay as long as a row holds them. To give each row a file of its own, assign a copy "
    "(row.file = row.file.copy()); afterwards 'fsck --repair' hands each object to the row that is left, or deletes it."
)
_NO_LEDGER = (
    "have file columns, and no ledger was found for them: nothing is swept, and a crash leaves objects behind. Name "
    "their databases in LedgerConfig(databases=[engine]) and create the ledger's tables, or pass --without-ledger if "
    "that is on purpose"
)
_DATABASE_SECONDS = 30.0
"""How long ``check`` waits for a database that does not answer."""
_START_SECONDS = 30.0
"""How long the other commands wait for a store before they go on without it."""
_STYLES = {"failed": "red", "skipped": "yellow"}
"""Colours of the outcomes of a step."""


@click.group(cls=LitestarGroup, name="storages", help="Look after file storages.")
def storages_group() -> None:
    """Group of the commands below."""


@click.command(name="list", cls=StoragesCommand, help="List the backends.")
def list_backends(app: Litestar, as_json: bool) -> None:  # noqa: FBT001  # an option of click
    """Print the configured backends."""
    entries = [
        BackendEntry(
            key=backend.key,
            service=backend.protocol,
            library=backend.driver,
            place=place_of(backend),
            can=[str(each.name).lower() for each in Capability if each in backend.capabilities],
        )
        for backend in config_of(app).known_backends
    ]
    finish(ListReport(entries), _show_list, as_json=as_json)


def _show_list(report: ListReport) -> None:
    rows = [(each.key, each.service, each.library, each.place, ", ".join(each.can)) for each in report.backends]
    show_table(("key", "service", "library", "place", "can"), rows)


@click.command(name="check", cls=StoragesCommand, help="Prove what every backend can do, and find every ledger.")
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds for each step.")
@click.option("--without-ledger", is_flag=True, default=False, help="Models with files and no ledger are on purpose.")
def check(app: Litestar, as_json: bool, timeout: float, without_ledger: bool) -> None:  # noqa: FBT001  # options of click
    """Probe every backend and look for every ledger; fail if something does not work."""
    report: CheckReport = anyio.run(partial(_check, app, seconds=timeout, without_ledger=without_ledger))
    finish(report, _show_check, ok=report.ok, as_json=as_json)


async def _check(app: Litestar, *, seconds: float, without_ledger: bool) -> CheckReport:
    # One after the other: the backends may share a store, and a slow one should not make the others late.
    backends = [await probe(backend, seconds=seconds) for backend in config_of(app).known_backends]
    databases, orphans = await _check_ledgers(app)
    missing = [] if without_ledger else orphans
    return CheckReport(
        ok=not missing and all(backend.ok for backend in backends) and all(database.ok for database in databases),
        backends=backends,
        databases=databases,
        without_ledger=[each.class_.__name__ for each in missing],
        reason=_NO_LEDGER if missing else None,
    )


async def _check_ledgers(app: Litestar) -> tuple[list[DatabaseCheck], list[Mapper[Any]]]:
    """Look for the ledgers, and return what each database has, and the classes with files that have no ledger."""
    ledger = config_of(app).ledger or LedgerConfig()
    databases = find_databases(ledger, app.plugins)
    places: list[Place] = []
    failures: dict[Database, str] = {}
    for database in databases:
        try:
            with guard_database():
                places += await within(_DATABASE_SECONDS, places_in(database))
        except (StorageError, SQLAlchemyError, TimeoutError) as error:
            failures[database] = reason_of(error)
        # Closing a connection that does not answer may hang as well.
        with suppress(TimeoutError):
            await within(_DATABASE_SECONDS, run_on(database, lambda engine: engine.dispose()))
    missing = f"has no ledger for {class_names(classes_with_files())}: create its tables with a migration"
    looked = [database for database in databases if database not in failures]
    failures |= dict.fromkeys(unhoused(looked, named=bool(ledger.engines), places=places), missing)
    counts = Counter(place.database for place in places)
    found = [
        DatabaseCheck(url=repr(each.url), ok=each not in failures, ledgers=counts[each], reason=failures.get(each))
        for each in databases
    ]
    # A class may be another application's, whose ledger is elsewhere: one ledger is enough for those that have one.
    without = [mapper for mapper in _with_files() if ledger_of(_metadata_of(mapper)) is None or not places]
    return found, [] if failures else without


def _with_files() -> list[Mapper[Any]]:
    """Return all mapped classes with file columns, also those whose ledger is switched off."""
    configure_mappers()
    return [mapper for mapper in configured_mappers() if single_table_columns(mapper)]


def _metadata_of(mapper: Mapper[Any]) -> sa.MetaData:
    return cast("sa.Table", mapper.local_table).metadata


def _show_check(report: CheckReport) -> None:
    for backend in report.backends:
        done = ", ".join(step.name for step in backend.steps if step.outcome == "ok")
        say(f"{backend.key}: {'ok' if backend.ok else 'failed'} ({done or 'nothing works'})", style=_colour(backend.ok))
        for step in backend.steps:
            if step.outcome != "ok" and not (step.outcome == "unsupported" and backend.ok):
                lacks = f" Missing: {step.permission}." if step.permission else ""
                say(f"  {step.name} {step.outcome}: {step.reason}.{lacks}", style=_STYLES.get(step.outcome))
        if backend.left_behind:
            say(f"  The probe {backend.left_behind!r} could not be removed: delete it yourself", style="red")
        if backend.policy:
            say(f"  The least that the account of {backend.place!r} has to be allowed:")
            click.echo("\n".join(printable(line) for line in backend.policy.splitlines()))
    for database in report.databases:
        if not database.ok:
            say(f"{database.url} {database.reason}", style="red")
    if report.without_ledger:
        say(f"{', '.join(report.without_ledger)} {report.reason}", style="red")
    say(f"{sum(database.ledgers for database in report.databases)} ledgers")


def _colour(ok: bool) -> str:  # noqa: FBT001  # the only argument
    return "green" if ok else "red"


@click.command(name="sweep", cls=StoragesCommand, help="Delete what no row needs, all that is due.")
def sweep_command(app: Litestar, as_json: bool) -> None:  # noqa: FBT001  # an option of click
    """Sweep every ledger once; fail if something that is due could not be deleted."""

    async def run(session: _Session) -> SweepReport:
        result = await _sweep(session)
        return SweepReport(
            ok=not (result.failed or session.skipped), ledgers=len(session.places), skipped=session.skipped,
            **result._asdict(),
        )  # fmt: skip

    report = anyio.run(_with_places, app, run)
    finish(report, _show_sweep, ok=report.ok, as_json=as_json)


async def _sweep(session: _Session) -> SweepResult:
    registry, config = session.config.registry, session.config.ledger or LedgerConfig()
    if not is_shown():
        return await sweep_places(session.places, registry, config)
    work = partial(count_due, backends=registry.registered_backends(), config=config.sweep)
    due = sum([await run_on(place.database, partial(work, table=place.table)) for place in session.places])
    with progress("objects") as show:
        done = 0

        def count(batch: SweepResult) -> None:
            nonlocal done
            done += sum(batch)
            show(done, max(due, done))

        return await sweep_places(session.places, registry, config, on_batch=count)


def _show_sweep(report: SweepReport) -> None:
    say(f"deleted {report.deleted}, forgotten {report.forgotten}, failed {report.failed}")
    _show_skipped(report.skipped)


def _show_skipped(skipped: list[Skipped]) -> None:
    for each in skipped:
        say(f"skipped {each.what}: {each.reason}", style="yellow")


@click.command(name="adopt", cls=StoragesCommand, help="Enter the files of existing rows into the ledger.")
def adopt_command(app: Litestar, as_json: bool) -> None:  # noqa: FBT001  # an option of click
    """Adopt rows that were written before there was a ledger."""

    async def run(session: _Session) -> AdoptReport:
        with progress("objects") as show:
            ledgers = [await _adopt(place, session.backends, show) for place in session.places]
        return AdoptReport(ledgers, session.skipped)

    finish(anyio.run(_with_places, app, run), _show_adopt, as_json=as_json)


async def _adopt(
    place: Place, backends: list[StorageBackend], show: Callable[[int, int | None], None]
) -> AdoptedLedger:
    work = partial(adopt, table=place.table, mappers=place.mappers, backends=backends, on_progress=show)
    done = await run_on(place.database, work)
    shared = [SharedEntry(*each.object, holders=each.holders, places=list(each.places)) for each in done.shared]
    return AdoptedLedger(
        database=repr(place.database.url),
        adopted=done.adopted,
        known=done.known,
        shared_count=done.shared_count,
        shared=shared,
        missing_count=done.missing_count,
        missing=[MissingEntry(*each.object, places=list(each.places)) for each in done.missing],
    )


def _show_adopt(report: AdoptReport) -> None:
    for ledger in report.ledgers:
        say(f"adopted {ledger.adopted}, known {ledger.known}, shared {ledger.shared_count}")
        for each in ledger.shared:
            more = f" and {each.holders - len(each.places)} more" if each.holders > len(each.places) else ""
            say(f"  {each.backend}:{each.key} is held by {', '.join(each.places)}{more}")
        if ledger.shared_count:
            say(_SHARED)
        for lost in ledger.missing:
            say(f"  {lost.backend}:{lost.key} has no bytes, and is held by {', '.join(lost.places)}", style="red")
        if ledger.missing_count:
            say(f"{ledger.missing_count} objects have no bytes: restore them, or clear the columns that hold them")
    _show_skipped(report.skipped)


@click.command(
    name="fsck", cls=StoragesCommand, help="Compare rows, ledger and backends; change nothing without --repair."
)
@click.option("--repair", is_flag=True, default=False, help="Enter unknown rows, doom objects that nothing needs.")
@click.option("--minimum-age", type=float, default=24 * 3600.0, show_default=True, help="In seconds.")
@click.option("--max-doomed-percent", type=float, default=10.0, show_default=True)
def fsck_command(app: Litestar, as_json: bool, repair: bool, minimum_age: float, max_doomed_percent: float) -> None:  # noqa: FBT001  # options of click
    """Run fsck on all ledgers; fail if rows, ledger and backends disagree, or something could not be compared."""

    async def run(session: _Session) -> CheckedLedgers:
        _check_one_ledger_each(session.places, session.config)
        ledgers: list[CheckedLedger] = []
        with progress("objects") as show:
            for place in session.places:
                total = await run_on(place.database, partial(_count, place=place)) if is_shown() else 0
                config = FsckConfig(
                    repair=repair,
                    minimum_age_seconds=minimum_age,
                    max_doomed_percent=max_doomed_percent,
                    on_progress=partial(_show_objects, show, total),
                )
                work = partial(_fsck, place=place, backends=session.backends, config=config)
                ledgers.append(await run_on(place.database, work))
        clean = all(not ledger.counts for ledger in ledgers)
        return CheckedLedgers(ok=clean and not session.skipped, ledgers=ledgers, skipped=session.skipped)

    report = anyio.run(_with_places, app, run)
    finish(report, _show_fsck, ok=report.ok, as_json=as_json)


def _count(engine: sa.Engine, place: Place) -> int:
    """Return how many objects the ledger knows: about as many as will be listed."""
    with engine.connect() as connection:
        return sum(row[2] for row in Ledger(place.table).totals(connection))


def _show_objects(show: Callable[[int, int | None], None], total: int, report: FsckReport) -> None:
    show(report.objects, max(total, report.objects))


def _fsck(engine: sa.Engine, place: Place, backends: list[StorageBackend], config: FsckConfig) -> CheckedLedger:
    found = fsck(engine, place.table, place.mappers, backends, config)
    return CheckedLedger(
        database=repr(place.database.url),
        objects=found.objects,
        entries=found.entries,
        row_files=found.row_files,
        counts=dict(found.counts),
        findings=[FindingEntry(each.kind, *each.object, detail=each.detail) for each in found.findings],
        adopted=found.adopted,
        unshared=found.unshared,
        doomed=found.doomed,
        recounted=found.recounted,
        skipped=[
            *_young(found, config.minimum_age_seconds),
            *(
                Skipped(f"{count} files in rows", f"their backend {key!r} is not configured, or not in use", count)
                for key, count in found.elsewhere.items()
            ),
        ],
    )


def _young(found: FsckReport, seconds: float) -> list[Skipped]:
    reason = f"younger than {seconds:g} s: their transactions may be open"
    return [Skipped(f"{found.young} unknown objects", reason, found.young)] if found.young else []


def _show_fsck(report: CheckedLedgers) -> None:
    for ledger in report.ledgers:
        say(f"{ledger.objects} objects, {ledger.entries} entries, {ledger.row_files} files in rows")
        for finding in ledger.findings:
            say(f"  {finding.kind}: {finding.backend}:{finding.key} {finding.detail}".rstrip())
        if (rest := sum(ledger.counts.values()) - len(ledger.findings)) > 0:
            say(f"  and {rest} more")
        say(
            f"adopted {ledger.adopted}, unshared {ledger.unshared}, doomed {ledger.doomed}, "
            f"recounted {ledger.recounted}"
        )
        _show_skipped(ledger.skipped)
    _show_skipped(report.skipped)


def _check_one_ledger_each(places: list[Place], config: FilestoreConfig) -> None:
    """Refuse to check a backend that several ledgers share: each would take the objects of the others for orphans."""
    for backend in config.known_backends:
        if len({place.identity for place in places if place.stores_in(backend.key)}) > 1:
            raise LedgerError(
                "Several ledgers store in this backend: give each database its own",
                operation="fsck",
                backend=backend.key,
            )


@click.command(name="usage", cls=StoragesCommand, help="Print what objects take up: all, or those of one owner.")
@click.argument("owner", required=False)
@click.option("--owners", type=click.IntRange(min=0), default=10, show_default=True, help="Most owners to name.")
def usage_command(app: Litestar, as_json: bool, owner: str | None, owners: int) -> None:  # noqa: FBT001  # an option of click
    """Print the number and total bytes of objects, by backend and state, and the largest owners; or of one owner."""

    async def run(session: _Session) -> UsageReport:
        work = partial(_usage_of, owner=owner) if owner is not None else partial(_usage, owners=owners)
        return UsageReport([await run_on(each.database, partial(work, place=each)) for each in session.places])

    finish(anyio.run(partial(_with_places, app, run, needs_stores=False)), _show_usage, as_json=as_json)


def _usage_of(engine: sa.Engine, place: Place, owner: str) -> LedgerUsage:
    with engine.connect() as connection:
        used = Ledger(place.table).usage(connection, owner)
    return LedgerUsage(database=repr(place.database.url), owners=[OwnerUsage(owner, **used._asdict())])


def _usage(engine: sa.Engine, place: Place, owners: int) -> LedgerUsage:
    ledger = Ledger(place.table)
    with engine.connect() as connection:
        totals = [StateUsage(*row) for row in ledger.totals(connection)]
        largest = [OwnerUsage(name, *used) for name, used in ledger.largest_owners(connection, owners)]
    return LedgerUsage(database=repr(place.database.url), backends=totals, owners=largest)


def _show_usage(report: UsageReport) -> None:
    for ledger in report.ledgers:
        if ledger.backends is None:
            (used,) = ledger.owners
            say(
                f"{used.objects} objects, {used.bytes} bytes; "
                f"{used.doomed_objects} objects, {used.doomed_bytes} bytes of them are to be deleted"
            )
            continue
        rows = [(each.backend, each.state, str(each.objects), str(each.bytes)) for each in ledger.backends]
        show_table(("backend", "state", "objects", "bytes"), rows)
        if ledger.owners:
            show_table(
                ("owner", "objects", "bytes", "to be deleted"),
                [(each.owner, str(each.objects), str(each.bytes), str(each.doomed_bytes)) for each in ledger.owners],
            )


@click.command(name="migrate", cls=StoragesCommand, help="Move the objects of a MovingBackend from SOURCE to TARGET.")
@click.argument("source")
@click.argument("target")
@click.option("--status", is_flag=True, default=False, help="Only look how it stands.")
@click.option("--undo", is_flag=True, default=False, help="Move what is new in TARGET back to SOURCE.")
@click.option("--max-rate", default=None, help="Most bytes a second, such as '20 MB'; no limit by default.")
@click.option("--jobs", type=click.IntRange(min=1), default=4, show_default=True, help="Objects at a time.")
@click.option("--no-read-back", is_flag=True, default=False, help="Believe the store that confirms a copy.")
def migrate_command(app: Litestar, as_json: bool, source: str, target: str, **options: Any) -> None:  # noqa: FBT001  # an option of click
    """Copy and verify; fail if objects are left. It may be stopped and run again at any time."""
    report = anyio.run(partial(_migrate, app, source, target, **options))
    finish(report, _show_migrate, ok=report.complete, as_json=as_json)


async def _migrate(
    app: Litestar, source: str, target: str, *, status: bool, undo: bool, max_rate: str | None, jobs: int,
    no_read_back: bool,
) -> MigrateReport:  # fmt: skip
    moving = _moving(config_of(app), source, target)
    there = (target, source) if undo else (source, target)
    way = moving.moving_driver.then.backend.key, moving.moving_driver.now.backend.key
    if not status and way != there:
        wanted = "source" if undo else "target"
        raise ConfigurationError(
            f"New objects still go to {there[0]!r}, so it would never be empty: set writes={wanted!r} in the "
            "MovingBackend, deploy that, and run this again",
            backend=moving.key,
        )

    async def run(session: _Session) -> MigrateReport:
        with closing(RowFacts(moving.key)) as facts:
            if status:
                return _report_of_move(way, await Mover(moving).status())
            for place in session.places:
                await run_on(place.database, partial(facts.read, mappers=place.mappers))
            with progress("objects") as show:
                config = MoveConfig(
                    max_bytes_per_second=None if max_rate is None else parse_size(max_rate),
                    jobs=jobs,
                    read_back=not no_read_back,
                    facts=facts.find,
                    on_progress=lambda report: show(report.moved, report.objects),
                )
                return _report_of_move(way, await Mover(moving, config).run())

    return await _with_places(app, run, only=[moving])


def _moving(config: FilestoreConfig, source: str, target: str) -> MovingBackend:
    for backend in config.backends:
        if isinstance(backend, MovingBackend) and (backend.source.key, backend.target.key) == (source, target):
            return backend
    raise ConfigurationError(
        f"No backend moves from {source!r} to {target!r}: in FilestoreConfig(backends=[...]), put MovingBackend(key, "
        "source=..., target=...) in the place of the old backend, under its key, deploy that, and run this again"
    )


def _report_of_move(way: tuple[str, str], report: MoveReport) -> MigrateReport:
    return MigrateReport(
        source=way[0],
        target=way[1],
        complete=report.is_complete,
        objects=report.objects,
        moved=report.moved,
        left=report.left,
        bytes_left=report.bytes_left,
        copied=report.copied,
        verified=report.verified,
        gone=report.gone,
        bytes=report.bytes,
        unfinished=report.unfinished,
        failed=dict(report.failed),
        failures=report.failures,
    )


def _show_migrate(report: MigrateReport) -> None:
    say(
        f"{report.source} to {report.target}: {report.moved} of {report.objects} objects moved, {report.left} left "
        f"({report.bytes_left} bytes)"
    )
    say(
        f"copied {report.copied} ({report.bytes} bytes), found the same {report.verified}, "
        f"deleted meanwhile {report.gone}, failed {sum(report.failed.values())}"
    )
    for key, reason in report.failures.items():
        say(f"  {key}: {reason}", style="red")
    if report.unfinished:
        say(f"{report.unfinished} parts of unfinished uploads are left: run this again when they are finished")
    if report.complete:
        say(f"All is in {report.target!r}", style="green")


class _Session(NamedTuple):
    """What a command works with."""

    config: FilestoreConfig
    places: list[Place]
    backends: list[StorageBackend]
    """Those that can be used."""
    skipped: list[Skipped]
    """The others."""


async def _with_places(
    app: Litestar,
    work: Callable[[_Session], Awaitable[T]],
    *,
    needs_stores: bool = True,
    only: Sequence[StorageBackend] | None = None,
) -> T:
    """Open the backends and find the ledgers outside the application's lifespan, then await `work` on them."""
    config = config_of(app)
    databases = find_databases(config.ledger or LedgerConfig(), app.plugins)
    if only is None:
        usable, skipped = await _usable(config.known_backends if needs_stores else ())
    else:
        usable, skipped = list(only), []
    async with open_backends(config.registry, usable):
        try:
            return await work(_Session(config, await find_places(databases), usable, skipped))
        finally:
            for database in databases:
                await run_on(database, lambda engine: engine.dispose())


async def _usable(backends: Iterable[StorageBackend]) -> tuple[list[StorageBackend], list[Skipped]]:
    """Start and close each backend, so that one that cannot be used does not keep the command from the others."""
    usable: list[StorageBackend] = []
    skipped: list[Skipped] = []
    for backend in backends:
        try:
            await within(_START_SECONDS, backend.start_async())
            await within(_START_SECONDS, backend.close_async())
        except (StorageError, TimeoutError) as error:
            skipped.append(Skipped(f"backend {backend.key!r}", reason_of(error)))
        else:
            usable.append(backend)
    return usable, skipped


_COMMANDS = (
    list_backends,
    check,
    sweep_command,
    adopt_command,
    fsck_command,
    usage_command,
    migrate_command,
    cors_command,
)
for _command in _COMMANDS:
    storages_group.add_command(cast("Any", _command))  # any kind of command will do
