"""Many tasks on few rows, cancelled at random, beside sweepers that wait for nobody; watched all the time.

``python -m tests.ledger.stress_async --seconds 60 --database postgresql --tasks 24 --seed 1``
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from litestar_filestore import StorageBackend
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.ledger.intents import store_async
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.sweep import sweep_async
from litestar_filestore.tracking.deletes import retry_deletes_async
from tests.ledger.chaos import ROWS, expected_error, operate
from tests.ledger.models import BACKEND, Document, content_of
from tests.ledger.places import async_url, place, prepare, sync_url
from tests.ledger.stress import HOSTILE, Plan, Report, faulty_driver, finish_report
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ("main", "run")

_OPERATION_SECONDS = 60.0
"""An operation that takes longer than this hangs."""


class _Run:
    def __init__(self, plan: Plan, world: World, engine: AsyncEngine) -> None:
        self.plan = plan
        self.world = world
        self.engine = engine
        self.report = Report()
        self.random = Random(plan.seed)
        self.deadline = time.monotonic() + plan.seconds
        self.operating: set[asyncio.Task[None]] = set()

    async def main(self) -> None:
        """Run operations, sweepers, canceller and checker until the deadline, and wait for all of them."""
        collector = asyncio.create_task(self.collect())
        async with asyncio.TaskGroup() as group:
            for _ in range(self.plan.workers):
                group.create_task(self.repeat(self.operation))
            group.create_task(self.repeat(self.sweep))
            group.create_task(self.repeat(self.sweep))
            group.create_task(self.cancel())
            group.create_task(self.repeat(self.check))
        collector.cancel()

    async def repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something again and again."""
        while time.monotonic() < self.deadline:
            await work()

    async def operation(self) -> None:
        """Run one operation in a task that may be cancelled, and judge how it ended."""
        work = self.upload if self.random.random() < 0.3 else self.change
        task = asyncio.create_task(self.timed(work))
        self.operating.add(task)
        await asyncio.wait({task})
        self.operating.discard(task)
        self.judge(task)

    async def timed(self, work: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.timeout(_OPERATION_SECONDS):
            await work()

    def judge(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.report.counts["cancelled"] += 1
        elif (error := task.exception()) is None:
            self.report.counts["ok"] += 1
        elif (name := expected_error(error)) is not None:
            self.report.counts[name] += 1
        else:
            self.report.unexpected.append("".join(traceback.format_exception(error)))

    async def change(self) -> None:
        async with AsyncSession(self.engine) as session:
            await session.run_sync(partial(operate, random=self.random))

    async def upload(self) -> None:
        """Store first, as a request does, and put the file into a row, which may replace another one."""
        tag = f"{self.random.getrandbits(32):08x}"
        source = content_of(tag)
        backend = self.world.registry.get_backend(BACKEND)
        file = await store_async(self.engine, LEDGER, backend, source, NewFile(filename=f"{tag}.txt"))
        async with AsyncSession(self.engine) as session:
            number = self.random.choice(ROWS)
            row = await session.get(Document, number)
            if row is None:
                session.add(row := Document(id=number))
            row.file = file
            await session.commit()

    async def cancel(self) -> None:
        """Cancel one operation after the other, each at a random moment."""
        while time.monotonic() < self.deadline:
            await asyncio.sleep(self.random.random() / 30)
            if self.operating:
                self.random.choice(sorted(self.operating, key=id)).cancel()

    async def sweep(self) -> None:
        try:
            result = await sweep_async(self.engine, LEDGER, self.world.registry, HOSTILE, limit=20)
        except Exception as error:
            if (name := expected_error(error)) is None:
                raise
            self.report.counts[f"sweep: {name}"] += 1
        else:
            self.report.counts["swept"] += result.deleted
        await asyncio.sleep(0.01)

    async def collect(self) -> None:
        """Collect garbage more often than Python does, as long as anything runs.

        The error of a statement that was cancelled in a flush keeps SQLAlchemy's frames alive, they keep SQLite's
        cursor, and that keeps the write lock of a connection that is closed already, until the cycle is collected.
        """
        while True:
            gc.collect()
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        self.report.damage += await asyncio.to_thread(self.world.damage)
        self.report.counts["checks"] += 1


async def _run(plan: Plan, world: World) -> Report:
    engine = create_async_engine(plan.url, pool_size=10)
    prepare(engine.sync_engine)
    stress = _Run(plan, world, engine)
    faulty = faulty_driver(world, stress.random) if plan.faults else None
    if faulty is not None:
        world.registry.register_backend(StorageBackend(BACKEND, driver=faulty))
    try:
        await stress.main()
        if faulty is not None:
            calls = Counter(call.operation for call in faulty.calls)
            stress.report.counts["faults"] = sum(fault.call <= calls[fault.operation] for fault in faulty.plan)
            faulty.plan.clear()  # what could not be deleted is tried again
            world.register()
        await retry_deletes_async()
        beside = staging_engine(engine.sync_engine)
        for name, pool in (("session", engine.sync_engine.pool), ("staging", beside.pool if beside else None)):
            if isinstance(pool, sa.QueuePool) and pool.checkedout():
                stress.report.damage.append(f"{pool.checkedout()} connections of the {name} pool are still out")
    finally:
        with suppress(asyncio.CancelledError):
            await engine.dispose()
    return stress.report


def run(plan: Plan) -> Report:
    """Run everything in an event loop of its own and return what became of it."""
    sync = sync_url(plan.url)
    world = World(prepare(sa.create_engine(sync)), Path(plan.root))
    # Not asyncio.run(), which waits for tasks that never end: cancelled in the wrong moment, SQLAlchemy 2.1.9 asks
    # aiosqlite 0.22.1 to stop a thread that has stopped already, and waits for its answer.
    loop = asyncio.new_event_loop()
    report = loop.run_until_complete(_run(plan, world))
    gc.collect()
    finish_report(report, world)
    return report


def main() -> int:
    """Run from the command line, print the report as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="postgresql")
    parser.add_argument("--url", help="of a database that is there already, instead of a new server's")
    parser.add_argument("--tasks", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="let the store fail as well")
    arguments = parser.parse_args()
    with place(arguments.database, arguments.url) as (url, root):
        plan = Plan(async_url(url), root, arguments.seconds, arguments.tasks, arguments.seed, faults=arguments.faults)
        report = run(plan)
    print(json.dumps(vars(report), indent=2))
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
