"""Which operation is killed where, and what is expected to be there afterwards.

The table says for each operation which points it passes, in their order. A test runs each operation to its end and
compares, so that no step can be added to the protocol without being killed at.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.ledger.operations import IN_AN_APPLICATION, OPERATIONS
from tests.ledger.world import SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.ledger.world import Contents

__all__ = ("DRIVERS", "Case", "Driver", "cases", "expected_contents", "is_run_always", "operations", "points")

Driver = Literal["sqlite", "psycopg", "pymysql", "aiosqlite", "asyncpg", "aiomysql"]
DRIVERS: tuple[Driver, ...] = ("sqlite", "psycopg", "pymysql", "aiosqlite", "asyncpg", "aiomysql")
_ASYNC = {"aiosqlite", "asyncpg", "aiomysql"}
_IN_FULL = {"sqlite", "psycopg"}
_POSTGRESQL = {"psycopg", "asyncpg"}
_SQLITE = {"sqlite", "aiosqlite"}

_WRITE = ("put.opened", "put.half", "put.complete", "put.published", "put.after")
_PUT = ("intent.before", "staging.commit", "intent.after", *_WRITE)
_SAVE = ("staging.commit", "intent.after", *_WRITE)
_COPY = ("put.opened", "put.complete", "put.published", "put.after")
_NOTED = ("intent.before", "note.after", *_WRITE[:-1])
_HELD = ("(held)",)
_VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "(held)": (_NOTED, _PUT),
    "(deleted)": (("object.deleted",), ()),
    "(links)": (("commit.before",), ("commit.before",)),
    "(notes)": (("rollback.before",), ("commit.before",)),
    "(forgotten)": ((), ("commit.before",)),
    "(looks)": (("rollback.before",), ()),
    "(nothing due)": (("rollback.before",), ("commit.before",)),
    "(staged)": (("intent.before",), ("intent.before", "staging.commit")),
    "(saved)": (("note.after", "staging.commit", "intent.after", *_WRITE, "note.after"), _SAVE),
}
"""What names stand for on SQLite and elsewhere. A put while the session's transaction has written already has a note
instead of an intent on SQLite, whose notes are in a file of their own; uploads are staged there by one statement, which
is its own transaction."""
_COMMIT = ("commit.before", "commit.after", "transaction.ended")
_LOST_COMMIT = ("commit.before", "commit.applied", "transaction.ended")
_ROLLBACK = ("rollback.before", "transaction.ended")
_HELD_ROLLBACK = ("rollback.before", "(deleted)", "transaction.ended")
_REPLACE = ("link.after", "doom.after", "flush.after")
_CLAIM = ("(looks)", "commit.before", "sweep.claimed", "rollback.before")
_FINISH = ("sweep.deleted", "commit.before", "sweep.forgot")
_BACKEND = (
    *(*_CLAIM, "object.deleted", "object.deleted", *_FINISH),
    *(*_CLAIM, "object.deleted", *_FINISH, "(nothing due)"),
)
_NOTHING = ("commit.before", "staging.commit")  # neither to count nor of resumable uploads
_SWEEP = ("(links)", "(notes)", *_NOTHING, *_BACKEND)

_POINTS: dict[str, tuple[str, ...]] = {
    "upload": (*_PUT, *_PUT, "link.after", "flush.after", *_COMMIT),
    "copy": ("intent.before", "staging.commit", "intent.after", *_COPY, "link.after", "flush.after", *_COMMIT),
    "save": (*_SAVE, "link.after", "flush.after", *_COMMIT),
    "save a copy": (
        *("staging.commit", "intent.after", *_COPY),
        *("link.after", "flush.after", *_COMMIT),
    ),
    "save while writing": ("flush.after", "(saved)", "link.after", "flush.after", *_COMMIT),
    "save, rollback": (*_SAVE, "link.after", "flush.after", *_ROLLBACK),
    "replace": (*_PUT, *_REPLACE, *_COMMIT),
    "clear an expired row": ("doom.after", "flush.after", *_COMMIT),
    "delete": ("doom.after", "flush.after", *_COMMIT),
    "bulk delete": ("doom.after", *_COMMIT),
    "bulk update": (*_PUT, "link.after", "doom.after", *_COMMIT),
    "bulk insert": (*_PUT, *_PUT, "link.after", *_COMMIT),
    "list append": (*_PUT, "link.after", "flush.after", *_COMMIT),
    "list remove": ("doom.after", "flush.after", *_COMMIT),
    "move": ("doom.after", "flush.after", *_COMMIT),
    "rollback": (*_PUT, *_REPLACE, *_ROLLBACK),
    "close": (*_PUT, *_REPLACE, *_ROLLBACK),
    "savepoint rollback": (
        *(*_PUT, *_REPLACE, *_HELD, *_REPLACE, "rollback_to.before", "savepoint.ended"),
        *("commit.before", "commit.after", "(deleted)", "transaction.ended"),
    ),
    "savepoint release, rollback": (
        *("flush.after", *_HELD, *_REPLACE, "doom.after", "flush.after"),
        *("release.before", "release.after", "savepoint.ended", *_HELD_ROLLBACK),
    ),
    "ambiguous commit": (*_PUT, *_REPLACE, *_LOST_COMMIT),
    "replace in a snapshot": (*_PUT, "staging.commit", "note.after", *_REPLACE, *_COMMIT),
    "rollback in a snapshot": (
        *(*_PUT, "staging.commit", "note.after", *_REPLACE),
        *("rollback.before", "object.deleted", "transaction.ended"),
    ),
    "write first": ("flush.after", *_HELD, *_REPLACE, *_COMMIT),
    "write first, rollback": ("flush.after", *_HELD, *_REPLACE, *_HELD_ROLLBACK),
    "write first, ambiguous commit": ("flush.after", *_HELD, *_REPLACE, *_LOST_COMMIT),
    "sweep": _SWEEP,
    "forget": _SWEEP,
    "sweep counted objects": ("(links)", "(notes)", "commit.before", "sweep.counted", *_NOTHING, *_BACKEND),
    "sweep a note": (
        *("(links)", "(notes)", "rollback.before", "commit.before", "note.doomed", "(forgotten)", *_NOTHING),
        *(*_CLAIM, "object.deleted", *_FINISH, "(nothing due)"),
    ),
    "staged upload": ("(staged)", "intent.after", *_WRITE, "link.after", "flush.after", *_COMMIT),
    "reserved upload": (
        *("(staged)", "intent.after", *_WRITE),
        *("(staged)", "intent.reserved", "intent.after", *_WRITE),
        *("intent.before", "intent.after", *_WRITE, "link.after", "flush.after", *_COMMIT),
    ),
}
_COMMITTED = {"commit.after", "commit.applied"}

_IN_SNAPSHOT = {"replace in a snapshot", "rollback in a snapshot"}
"""On PostgreSQL, where the transaction cannot see the intent, and a note takes its place."""

_SELECTION = {
    "intent.after",
    "intent.reserved",
    "intent.after#3",
    "note.after",
    "put.half",
    "put.published",
    "put.half#3",
    "put.published#3",
    "link.after",
    "doom.after",
    "commit.before",
    *_COMMITTED,
}
"""Async drivers run the same steps in the same order, and so does MariaDB, so that in each run of the tests the most
different points of the most different operations are enough. The others come with `make stress`."""
_OPERATIONS = {
    "upload",
    "copy",
    "save",
    "replace",
    "bulk update",
    "list remove",
    "savepoint rollback",
    "rollback",
    "staged upload",
    "reserved upload",
    "sweep",
    "sweep a note",
}


class Case(NamedTuple):
    """One kill."""

    driver: Driver
    operation: str
    point: str
    is_selected: bool
    """Whether it is worth the time of every run."""
    is_committed: bool
    """Whether the rows are those after the operation."""


def operations(driver: Driver) -> Iterator[str]:
    """Yield the operations that run on a driver."""
    for name in _POINTS:
        if (name in {"staged upload", "reserved upload"} and driver not in _ASYNC) or (
            name in _IN_SNAPSHOT and driver not in _POSTGRESQL
        ):
            continue
        yield name


def is_run_always(operation: str, driver: Driver) -> bool:
    """Return whether an operation on a driver is worth the time of every run of the tests."""
    return driver in _IN_FULL or operation in _OPERATIONS


def points(operation: str, driver: Driver) -> list[str]:
    """Return the points that an operation passes; the second time has ``#2`` behind it."""
    return list(_numbered(_fill(_POINTS[operation], driver)))


def _fill(names: Iterable[str], driver: Driver) -> Iterator[str]:
    on_sqlite, elsewhere = zip(*(_VARIANTS.get(name, ((name,), (name,))) for name in names), strict=True)
    return chain.from_iterable(on_sqlite if driver in _SQLITE else elsewhere)


def _numbered(names: Iterable[str]) -> Iterator[str]:
    times: Counter[str] = Counter()
    for name in names:
        times[name] += 1
        yield name if times[name] == 1 else f"{name}#{times[name]}"


def cases(driver: Driver) -> Iterator[Case]:
    """Yield what is killed on a driver."""
    for operation in operations(driver):
        passed = points(operation, driver)
        committed = False
        for point in passed:
            committed = committed or point in _COMMITTED
            is_selected = is_run_always(operation, driver) and (
                driver in _IN_FULL or operation == "staged upload" or point in _SELECTION
            )
            yield Case(driver, operation, point, is_selected, committed)


def expected_contents(operation: str, *, is_committed: bool) -> Contents:
    """Return what the rows hold after a kill."""
    if operation == "sweep a note":
        return SEED
    if operation in {"sweep", "forget", "sweep counted objects"}:
        return {**SEED, 1: (None, SEED[1][1]), 2: (None, ())}
    if not is_committed:
        return SEED
    if operation in {"staged upload", "reserved upload"}:
        return {**SEED, 4: ("four", ())}
    done = (OPERATIONS | IN_AN_APPLICATION)[operation]
    return {number: held for number, held in {**SEED, **done.after}.items() if number not in done.deleted}
