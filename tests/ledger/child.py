"""The process that gets killed. Run as ``python -m tests.ledger.child``, it forks one process per line of orders.

Importing everything takes longer than all of a case; a forked process has it already, and is a process like others: it
opens its own database, and ends by SIGKILL in the middle of its work, without a word to anybody.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import traceback
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomysql as aiomysql  # noqa: PLC0414  # imported once, before the forks
import aiosqlite as aiosqlite  # noqa: PLC0414
import asyncpg as asyncpg  # noqa: PLC0414
import psycopg as psycopg  # noqa: PLC0414
import pymysql as pymysql  # noqa: PLC0414
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend, storages
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.ledger import reserves
from litestar_filestore.ledger.intents import store_async
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.ledger.notes import note
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import SweepConfig, sweep, sweep_async
from tests.ledger.models import BACKEND, Document, a_file, blocks_of
from tests.ledger.operations import IN_AN_APPLICATION, OPERATIONS
from tests.ledger.places import sync_url
from tests.ledger.sabotage import SABOTAGE
from tests.ledger.traps import Trap, set_traps
from tests.ledger.world import LEDGER, pass_time

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("ALIVE", "TIMEOUT_SECONDS", "Order", "alive_names", "connect")

ALIVE = 4711
"""PostgreSQL's advisory lock that every connection of a case shares: who gets it alone knows that they are all gone."""
_CONNECTIONS = 4
_connections = itertools.count()
TIMEOUT_SECONDS = 60
"""A process that has not come to its end after this long is ended by SIGALRM."""


@dataclass(frozen=True)
class Order:
    """What one process does, and where it dies."""

    url: str
    root: str
    operation: str
    target: str | None
    trace: str
    """File for the points that were passed, written at the end by a process that survives."""
    log: str
    """File for standard error."""
    sabotage: str | None = None


def alive_names() -> list[str]:
    """Return the names of MariaDB's locks, which are not shared: one for each connection of a case."""
    return [f"alive-{number}" for number in range(_CONNECTIONS)]


def connect(connection: Any, _record: object) -> None:
    """Prepare a new connection: SQLite need not wait for the disk, servers are to tell when the process is gone."""
    cursor = connection.cursor()
    kind = type(connection).__module__
    if "sqlite" in kind:
        cursor.execute("PRAGMA synchronous = OFF")
    elif "mysql" in kind:
        # By number, so that the connection of a case that is one too many is an error.
        cursor.execute(f"SELECT GET_LOCK('{alive_names()[next(_connections)]}', 60)")
    else:
        cursor.execute(f"SELECT pg_advisory_lock_shared({ALIVE})")
        connection.commit()
    cursor.close()


class _SyncCase:
    def __init__(self, order: Order) -> None:
        self.engine = sa.create_engine(order.url)
        self.database: sa.Engine | AsyncEngine = self.engine
        self.runner = asyncio.Runner()
        self.applications = AsyncExitStack()
        event.listen(self.engine, "connect", connect)

    def work(self, work: Callable[[Session], None], trap: Trap | None) -> None:
        with Session(self.engine) as session:
            _offer_ambiguous_commit(session, self.engine, trap)
            work(session)

    def sweep(self) -> None:
        sweep(self.engine, LEDGER, storages, SweepConfig(batch_size=2))


class _AsyncCase:
    def __init__(self, order: Order) -> None:
        self._async_engine: AsyncEngine = create_async_engine(order.url)
        self.database: sa.Engine | AsyncEngine = self._async_engine
        self.engine = self._async_engine.sync_engine
        self.runner = asyncio.Runner()
        self.applications = AsyncExitStack()
        event.listen(self.engine, "connect", connect)

    def work(self, work: Callable[[Session], None], trap: Trap | None) -> None:
        async def main() -> None:
            async with AsyncSession(self._async_engine) as session:
                _offer_ambiguous_commit(session.sync_session, self.engine, trap)
                await session.run_sync(work)

        self.runner.run(main())

    def sweep(self) -> None:
        self.runner.run(sweep_async(self._async_engine, LEDGER, storages, SweepConfig(batch_size=2)))

    def upload(self, *, reserved: bool = False) -> None:
        """Store first and add the row later, as a request does.

        Args:
            reserved: Whether to store two other files before, of which the second one brings a reserved intent.
        """

        async def store() -> FileObject:
            new = NewFile(filename="four.txt")
            return await store_async(self._async_engine, LEDGER, storages[BACKEND], blocks_of("four"), new)

        async def main() -> None:
            if reserved:
                setattr(reserves, "_WINDOW_SECONDS", 3600.0)  # noqa: B010  # this process may be slow
                await store()
                await store()
            file = await store()
            async with AsyncSession(self._async_engine) as session:
                session.add(Document(id=4, file=file))
                await session.commit()

        self.runner.run(main())


def _offer_ambiguous_commit(session: Session, engine: sa.Engine, trap: Trap | None) -> None:
    """Let the session lose the answer to its next COMMIT, as a broken network does."""
    dialect = engine.dialect
    dbapi_commit = dialect.do_commit

    def lose() -> None:
        def arm(_connection: sa.Connection) -> None:
            def commit(connection: Any) -> None:
                setattr(dialect, "do_commit", dbapi_commit)  # noqa: B010
                dbapi_commit(connection)
                if trap is not None:
                    trap("commit.applied")
                raise dialect.loaded_dbapi.OperationalError("the answer to COMMIT was lost")

            setattr(dialect, "do_commit", commit)  # noqa: B010

        # Armed when the session's own COMMIT is on its way: the staging engine shares the dialect.
        event.listen(engine, "commit", arm, once=True)

    session.info["lose the answer"] = lose


def _run(order: Order) -> None:
    storages.register_backend(LocalBackend(BACKEND, order.root, fsync=False))
    case = _SyncCase(order) if order.url == sync_url(order.url) else _AsyncCase(order)
    trap = Trap(order.target)
    if order.operation in {"sweep", "forget"}:
        _leave_garbage(case, forget=order.operation == "forget")
    if order.operation == "sweep counted objects":
        _count_all(case)
        _leave_garbage(case, forget=False)
        case.work(_want_counter, None)
    if order.operation == "sweep a note":
        _leave_note(case)
    if order.sabotage is not None:
        SABOTAGE[order.sabotage]()
    if order.operation in IN_AN_APPLICATION:
        _start_application(case)
    set_traps(trap, case.engine)
    if order.operation in OPERATIONS | IN_AN_APPLICATION:
        case.work((OPERATIONS | IN_AN_APPLICATION)[order.operation].run, trap)
    elif order.operation in {"staged upload", "reserved upload"}:
        assert isinstance(case, _AsyncCase)
        case.upload(reserved=order.operation == "reserved upload")
    else:
        case.sweep()
    Path(order.trace).write_text(json.dumps(trap.trace), encoding="utf-8")


def _start_application(case: _SyncCase | _AsyncCase) -> None:
    """Start an application that has the ledger; it runs until the process is over."""
    ledger = LedgerConfig([case.database], run_sweeper=False)
    plugin = FilestorePlugin(FilestoreConfig([storages[BACKEND]], ledger=ledger))
    app = Litestar(plugins=[plugin], logging_config=None)
    case.runner.run(case.applications.enter_async_context(app.lifespan()))


def _leave_garbage(case: _SyncCase | _AsyncCase, *, forget: bool) -> None:
    """Leave two doomed objects and one whose lease has run out; with `forget`, swept once already."""

    def work(session: Session) -> None:
        session.add(Document(id=4, file=a_file("four")))
        session.flush()
        session.rollback()
        for number in (1, 2):
            session.get_one(Document, number).file = None
        session.commit()
        pass_time(session.connection())
        session.commit()

    def later(session: Session) -> None:
        pass_time(session.connection())
        session.commit()

    case.work(work, None)
    if forget:
        case.sweep()
        case.work(later, None)


def _count_all(case: _SyncCase | _AsyncCase) -> None:
    """Give all objects to an owner who has a counter."""

    def give(session: Session) -> None:
        session.execute(sa.update(LEDGER).values(owner="alice"))
        _want_counter(session)

    case.work(give, None)
    case.sweep()


def _want_counter(session: Session) -> None:
    Ledger(LEDGER).want_counter(session.connection(), "alice")
    session.commit()


def _leave_note(case: _SyncCase | _AsyncCase) -> None:
    """Leave an object that only a note knows, as a process does that is killed before its commit."""

    def work(session: Session) -> None:
        file = a_file("four")
        note(
            session.connection(),
            Ledger(LEDGER),
            ObjectKey(BACKEND, file.prepare_key()),
            beside=staging_engine(case.engine),
        )
        file.save()
        pass_time(session.connection())
        session.commit()

    case.work(work, None)


def _serve() -> None:
    for line in sys.stdin:
        order = Order(**json.loads(line))
        process = os.fork()
        if process == 0:
            _live(order)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _live(order: Order) -> None:
    signal.alarm(TIMEOUT_SECONDS)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 2)
    try:
        _run(order)
    except BaseException:  # noqa: BLE001  # this process ends here, and its parent reads the log
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    _serve()
