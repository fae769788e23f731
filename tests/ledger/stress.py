"""Many processes on few rows, killed at random, beside sweepers that wait for nobody; watched all the time.

``python -m tests.ledger.stress --seconds 120 --database postgresql --workers 6 --seed 1``
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger import LEASE_SECONDS
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.sweep import SweepConfig
from litestar_filestore.testing import Fault, FaultyDriver, Operation
from tests.ledger.chaos import expected_error, operate
from tests.ledger.models import BACKEND
from tests.ledger.places import place, prepare
from tests.ledger.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

__all__ = ("HOSTILE", "Plan", "Report", "faulty_driver", "finish_report", "main", "run")

HOSTILE = SweepConfig(
    staged_grace_seconds=0.05 - LEASE_SECONDS,  # what is staged for longer than 50 ms is taken for abandoned
    tombstone_seconds=15.0,
    claim_seconds=1.0,
    batch_size=5,
    backoff_seconds=0.1,
)
_KILL_AT_POINT = 0.004
_SWEEPERS = 2
_SWEPT_AT_A_TIME = 20
"""There may always be more to sweep, and a sweep counts when it has ended."""
_FAULTY_CALLS = 10_000


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    url: str
    root: str
    seconds: float
    workers: int
    seed: int
    faults: bool = False
    """Whether the store fails now and then."""
    snapshots: bool = False
    """Whether all isolation levels are used; PostgreSQL only."""


@dataclass
class Report:
    """What became of it."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """Operations by their outcome, kills, and checks."""
    unexpected: list[str] = field(default_factory=list[str])
    """Errors that must not happen."""
    damage: list[str] = field(default_factory=list[str])
    """What was wrong at some moment, or was left at the end."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong."""
        return not self.unexpected and not self.damage


class _Crowd:
    """Processes that are started again when they are killed, each with a file for its counts."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._directory = directory
        self._context = multiprocessing.get_context("fork")
        self._starts = 0
        self._running: dict[BaseProcess, Callable[[Plan, Random, Path], None]] = {}

    def start(self, work: Callable[[Plan, Random, Path], None]) -> None:
        self._starts += 1
        random = Random(f"{self._plan.seed} {self._starts}")
        journal = self._directory / f"{self._starts}.jsonl"
        process = self._context.Process(target=_live, args=(work, self._plan, random, journal))
        process.start()
        self._running[process] = work

    def watch(self, deadline: float) -> int:
        """Start again whatever was killed, until `deadline`; then wait for all, and return the number of kills."""
        kills = 0
        random = Random(self._plan.seed)
        next_kill = time.monotonic() + random.random()
        while time.monotonic() < deadline:
            wait = max(0.0, min(next_kill, deadline) - time.monotonic())
            multiprocessing.connection.wait([process.sentinel for process in self._running], wait)
            if time.monotonic() >= next_kill:
                random.choice([process for process in self._running if self._running[process] is not check]).kill()
                next_kill = time.monotonic() + 0.2 + random.random()
            for process in [each for each in self._running if not each.is_alive()]:
                work = self._running.pop(process)
                kills += process.exitcode == -signal.SIGKILL
                self.start(work)
        for process in self._running:
            process.join()
        return kills


def _live(work: Callable[[Plan, Random, Path], None], plan: Plan, random: Random, journal: Path) -> None:
    try:
        work(plan, random, journal)
    except BaseException:  # noqa: BLE001  # reported, and the process ends
        _note(journal, "unexpected", traceback.format_exc())
    os._exit(0)


def _note(journal: Path, kind: str, text: str) -> None:
    # One write() each: a kill leaves a whole line or none.
    with journal.open("ab", buffering=0) as file:
        file.write(json.dumps([kind, text]).encode() + b"\n")


def _world(plan: Plan, random: Random) -> World:
    world = World(prepare(sa.create_engine(plan.url)), Path(plan.root))
    if plan.faults:
        storages.register_backend(StorageBackend(BACKEND, driver=faulty_driver(world, random)))
    return world


def faulty_driver(world: World, random: Random) -> FaultyDriver:
    """Wrap the driver so that about one call in ten goes wrong, in one of four ways."""
    plan: list[Fault] = []
    for call in random.sample(range(1, _FAULTY_CALLS), _FAULTY_CALLS // 10):
        operation: Operation = random.choice(("put", "delete"))
        error = BackendUnavailableError("planned")
        match random.randrange(4):
            case 0:
                plan.append(Fault(operation, error, call=call))
            case 1:
                plan.append(Fault(operation, error, call=call, after_effect=True))
            case 2:
                plan.append(Fault("put", error, call=call, after_bytes=100))
            case _:
                plan.append(Fault(operation, call=call, delay_seconds=0.06))
    return FaultyDriver(world.backend.storage_driver, plan)


def work(plan: Plan, random: Random, journal: Path) -> None:
    """Do random operations, and die at a random point of one."""
    world = _world(plan, random)
    on_point(_killer(random))
    deadline = time.monotonic() + plan.seconds
    while time.monotonic() < deadline:
        try:
            with Session(world.engine) as session:
                operate(session, random, snapshots=plan.snapshots)
        except Exception as error:  # noqa: BLE001  # judged
            name = expected_error(error)
            _note(journal, "count" if name else "unexpected", name or traceback.format_exc())
        else:
            _note(journal, "count", "ok")


def tidy(plan: Plan, random: Random, journal: Path) -> None:
    """Sweep without a pause."""
    world = _world(plan, random)
    on_point(_killer(random))
    deadline = time.monotonic() + plan.seconds
    while time.monotonic() < deadline:
        try:
            result = world.sweep(HOSTILE, limit=_SWEPT_AT_A_TIME)
        except Exception as error:  # noqa: BLE001  # judged
            name = expected_error(error)
            _note(journal, "count" if name else "unexpected", f"sweep: {name}" if name else traceback.format_exc())
        else:
            for _ in range(result.deleted):
                _note(journal, "count", "swept")


def check(plan: Plan, _random: Random, journal: Path) -> None:
    """Look for damage without a pause."""
    world = World(prepare(sa.create_engine(plan.url)), Path(plan.root))
    deadline = time.monotonic() + plan.seconds
    while time.monotonic() < deadline:
        for damage in world.damage():
            _note(journal, "damage", damage)
        _note(journal, "count", "checks")


def _killer(random: Random) -> Callable[[str], None]:
    def reach(_point: str) -> None:
        if random.random() < _KILL_AT_POINT:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach


def run(plan: Plan) -> Report:
    """Run everything and return what became of it. Forks, so nothing may be connected before."""
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        crowd = _Crowd(plan, Path(name))
        for each in (*[work] * plan.workers, *[tidy] * _SWEEPERS, check):
            crowd.start(each)
        report.counts["kills"] = crowd.watch(time.monotonic() + plan.seconds)
        for journal in Path(name).iterdir():
            for line in journal.read_bytes().splitlines():
                kind, text = json.loads(line)
                if kind == "count":
                    report.counts[text] += 1
                else:
                    (report.unexpected if kind == "unexpected" else report.damage).append(text)
    finish_report(report, World(prepare(sa.create_engine(plan.url)), Path(plan.root)))
    return report


def finish_report(report: Report, world: World) -> None:
    """Sweep up, and add what does not fit in the end."""
    world.recover()
    report.damage += world.damage() + world.leftovers()
    if not report.damage:
        report.counts["rows"] = len(world.contents())
    world.engine.dispose()


def main() -> int:
    """Run from the command line, print the report as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="postgresql")
    parser.add_argument("--url", help="an empty database instead of one made for the run")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="let the store fail as well")
    parser.add_argument("--snapshots", action="store_true", help="use all isolation levels, with PostgreSQL")
    arguments = parser.parse_args()
    with place(arguments.database, arguments.url) as (url, root):
        report = run(
            Plan(
                url,
                root,
                arguments.seconds,
                arguments.workers,
                arguments.seed,
                faults=arguments.faults,
                snapshots=arguments.snapshots,
            )
        )
    print(json.dumps(vars(report), indent=2))
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
