"""A real process is killed at every step of every operation: no row without bytes, and nothing stays behind."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests.ledger.matrix import DRIVERS, Case, Driver, cases, expected_contents, is_run_always, operations, points

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.arena import Arena

    ArenaOf = Callable[[Driver], Arena]

CASES = [case for driver in DRIVERS for case in cases(driver)]
RUNS = [
    (driver, operation) for driver in DRIVERS for operation in operations(driver) if is_run_always(operation, driver)
]


def _name(case: Case) -> str:
    return f"{case.driver}-{case.operation}-{case.point}".replace(" ", "_")


def _is_in_ci(case: Case) -> bool:
    """Return whether ``make test-all`` kills there: at every second of the points that are worth it."""
    return case.is_selected and crc32(_name(case).encode()) % 2 == 0


@pytest.mark.matrix(cases=8)
@pytest.mark.parametrize("case", [case for case in CASES if _is_in_ci(case)], ids=_name)
def test_kill(arena_of: ArenaOf, case: Case) -> None:
    """After SIGKILL rows, ledger and objects fit together, and sweeps remove whatever is left over."""
    kill(arena_of(case.driver), case)


@pytest.mark.stress
@pytest.mark.parametrize("case", [case for case in CASES if not _is_in_ci(case)], ids=_name)
def test_kill_everywhere(arena_of: ArenaOf, case: Case) -> None:
    """The same at the points that are left."""
    kill(arena_of(case.driver), case)


def kill(arena: Arena, case: Case) -> None:
    """Kill, and look at what is left."""
    arena.reset()
    code = arena.run(case.operation, case.point)
    assert code == -signal.SIGKILL, arena.log

    world = arena.world
    assert world.damage() == []
    assert world.contents() == expected_contents(case.operation, is_committed=case.is_committed)
    world.recover()
    assert world.leftovers() == []
    assert world.damage() == []
    assert world.contents() == expected_contents(case.operation, is_committed=case.is_committed)


@pytest.mark.matrix(cases=6)
@pytest.mark.parametrize(("driver", "operation"), RUNS)
def test_points(arena_of: ArenaOf, driver: Driver, operation: str) -> None:
    """An operation that survives passes exactly the points of the matrix, and changes what it is to change."""
    arena = arena_of(driver)
    arena.reset()
    assert arena.run(operation, None) == 0, arena.log
    assert arena.trace == points(operation, driver), arena.trace
    world = arena.world
    assert world.damage() == []
    is_committed = any(case.is_committed for case in cases(driver) if case.operation == operation)
    assert world.contents() == expected_contents(operation, is_committed=is_committed)
    world.recover()
    assert world.leftovers() == []


@pytest.mark.matrix(cases=2)
@pytest.mark.parametrize("driver", ["sqlite", "psycopg"])
@pytest.mark.parametrize(
    ("sabotage", "operation", "point", "finding"),
    [
        ("no link", "upload", "commit.after", "row without linked entry"),
        ("no doom", "delete", "commit.after", "linked entry without row"),
        ("deleted before the commit", "replace", "commit.before", "row without object"),
        ("bytes after the row", "upload", "commit.after", "row without object"),
    ],
)
def test_damage_is_found(  # noqa: PLR0917
    arena_of: ArenaOf, driver: Driver, sabotage: str, operation: str, point: str, finding: str
) -> None:
    """A protocol with one step left out or moved does not get past the check after the kill."""
    arena = arena_of(driver)
    arena.reset()
    assert arena.run(operation, point, sabotage=sabotage) == -signal.SIGKILL, arena.log
    assert {damage.partition(":")[0] for damage in arena.world.damage()} == {finding}


@pytest.mark.parametrize("driver", ["sqlite", "psycopg"])
def test_leftover_is_found(arena_of: ArenaOf, driver: Driver) -> None:
    """A protocol that writes without an intent does not get past the check after the sweeps."""
    arena = arena_of(driver)
    arena.reset()
    assert arena.run("replace", "put.published", sabotage="no intent") == -signal.SIGKILL, arena.log
    arena.world.recover()
    assert [left.partition(":")[0] for left in arena.world.leftovers()] == ["object without row"]


def test_matrix_is_complete() -> None:
    """There are at least 60 kills on each of the two databases."""
    for driver in ("sqlite", "psycopg"):
        assert sum(case.driver == driver and case.is_selected for case in CASES) >= 60
