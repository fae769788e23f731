"""What sweeps, fsck, quotas and rows ask again and again is answered from an index, however much the ledger holds."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend, StorageBackend, storages
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.ledger.fsck import FsckConfig, fsck
from litestar_filestore.ledger.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.ledger.sweep import SweepConfig, SweepResult, sweep
from litestar_filestore.ledger.table import USED, State, usage_of
from litestar_filestore.testing import FaultyDriver
from tests.ledger.models import BACKEND, Base, Document, a_file
from tests.ledger.world import LEDGER, LONG, NOTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 20_000
MORE = 1_000_000
MAX_BUFFERS = 100
"""Of 8 KiB each: a search in each of three indexes for the few rows that a statement is about."""
KEEP_SECONDS = 7 * 24 * 3600.0
ELSEWHERE = "elsewhere"
_counters = usage_of(LEDGER.metadata)
assert _counters is not None
COUNTERS = _counters
TABLES = {LEDGER.name, NOTES.name, COUNTERS.name}
SMALL = frozenset({COUNTERS.name})
"""Tables that may be read as a whole: few owners have a counter here, and PostgreSQL knows it."""

FEW = 60
"""The entries of an owner without a counter."""
# Neither due now nor in the next hours: deleted ones whose tombstone stands, doomed ones that are kept, running leases,
# links that can be used. Of the linked ones, a few are bob's, and half of the others are counted for alice.
_IS_ALICES = f"n > {FEW} AND n - n / 2 * 2 = 0"
_OWNERS = (
    f"CASE WHEN n <= {FEW} THEN 'bob' WHEN {_IS_ALICES} THEN 'alice' END, CASE WHEN {_IS_ALICES} THEN 1 ELSE 0 END"
)
KINDS = (
    ("b1", State.GONE, LONG, "NULL, 0"),
    ("b2", State.DOOMED, -LONG, "'alice', 2"),
    ("b3", State.STAGED, LONG, "NULL, 0"),
    (ELSEWHERE, State.LINKED, -LONG, _OWNERS),
    ("", USED, LONG, "NULL, 0"),
)
NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(1, {count}) AS n",
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c",
}
NOW = {
    "postgresql": "EXTRACT(EPOCH FROM now())::double precision",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
PADDED = {"postgresql": "lpad(CAST(n AS text), 8, '0')", "sqlite": "printf('%08d', n)"}


class EnoughError(Exception):
    """Ends what would go on for long."""


class Plans:
    """The plan of every statement about the ledger that ran, by its text."""

    def __init__(self) -> None:
        self.seen: dict[str, list[str]] = {}
        self.buffers: dict[str, int] = {}
        self.limit: int | None = None
        self._runs: dict[str, int] = {}

    def look(self, _connection: Any, cursor: Any, sql: str, given: Any, context: Any, *_: Any) -> None:
        """Explain a statement before it runs, on the same connection and with the same arguments."""
        if not any(table in sql for table in TABLES) or not sql.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        self._runs[sql] = self._runs.get(sql, 0) + 1
        if self.limit is not None and self._runs[sql] > self.limit:
            raise EnoughError
        if context.dialect.name == "sqlite":
            self._look_sqlite(cursor, sql, given)
        else:
            self._look_postgresql(cursor, sql, given)

    def _look_sqlite(self, cursor: Any, sql: str, given: Any) -> None:
        steps = cursor.execute(f"EXPLAIN QUERY PLAN {sql}", given).fetchall()
        # Of a condition that is always false, SQLite says "SCAN" and does not begin.
        is_empty = sql.rstrip().endswith("WHERE 0 = 1")
        # Others tell about what was found: sorting, putting together.
        self.seen[sql] = [
            step for *_, step in steps if not is_empty and any(f" {table}" in step for table in TABLES - SMALL)
        ]

    def _look_postgresql(self, cursor: Any, sql: str, given: Any) -> None:
        cursor.execute("SAVEPOINT looking")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}", given)
        (plans,) = cursor.fetchone()
        plan = (plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]
        cursor.execute("ROLLBACK TO SAVEPOINT looking")
        self.seen[sql] = list(_steps(plan))
        buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self.buffers[sql] = max(buffers, self.buffers.get(sql, 0))

    def faults(self) -> dict[str, object]:
        """Return what reads more than it needs."""
        slow = {sql: steps for sql, steps in self.seen.items() if any(not _searches(step) for step in steps)}
        return {**slow, **{sql: count for sql, count in self.buffers.items() if count >= MAX_BUFFERS}}


def _steps(plan: dict[str, Any]) -> Iterator[str]:
    """Yield how each node of PostgreSQL's plan reads a table of the ledger. What it reads bounds what it sorts."""
    if plan["Node Type"] == "Bitmap Index Scan" or plan.get("Relation Name") in TABLES - SMALL:
        yield f"{plan['Node Type']} BY {plan.get('Index Cond', '')}"
    for each in plan.get("Plans", ()):
        yield from _steps(each)


def _searches(step: str) -> bool:
    if step.startswith(("ModifyTable", "Bitmap Heap Scan", "MULTI-INDEX OR", "INDEX ")):  # their parts are steps too
        return True
    return step.startswith(("SEARCH", "Index Scan BY (", "Index Only Scan BY (", "Bitmap Index Scan BY ("))


@contextmanager
def looking(limit: int | None = None) -> Iterator[Plans]:
    """Explain all statements of the body; a text that comes more than `limit` times ends it with `EnoughError`."""
    plans = Plans()
    plans.limit = limit
    event.listen(sa.Engine, "before_cursor_execute", plans.look)
    try:
        yield plans
    finally:
        event.remove(sa.Engine, "before_cursor_execute", plans.look)


@pytest.fixture(scope="module", params=[MANY, pytest.param(MORE, marks=pytest.mark.slow)])
def count(request: pytest.FixtureRequest) -> int:
    """How many entries there are of which nothing is to be done."""
    number: int = request.param
    return number


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, count: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A database with very many entries and notes."""
    folder = tmp_path_factory.mktemp("plans")
    url = f"sqlite:///{folder}/test.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url, poolclass=sa.NullPool)  # one that is kept would stay open after its test
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    fill(engine, count)
    yield engine
    engine.dispose()


def fill(engine: sa.Engine, count: int) -> None:
    """Add entries of other backends in all states, of which none is due, and notes."""
    dialect = engine.dialect.name
    numbers, now, padded = NUMBERS[dialect], NOW[dialect], PADDED[dialect]
    with engine.begin() as connection:
        for backend, state, wait, owner in KINDS:
            connection.exec_driver_sql(
                f"INSERT INTO {LEDGER.name} "  # noqa: S608
                "(backend, key, state, size, created_at, not_before, attempts, owner, counted) "
                f"SELECT '{backend}', {padded}, '{state}', 1, {now}, {now} + {wait} + n * 0.001, 0, {owner} "
                f"FROM ({numbers.format(count=count // len(KINDS))}) AS numbers"
            )
        Ledger(LEDGER).recount(connection, "alice")
    fill_notes(engine, f"'b1', {padded}, {now} + {LONG} FROM ({numbers.format(count=count // 10)}) AS numbers")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE")


def fill_notes(engine: sa.Engine, rows: str) -> None:
    """Add notes where the database has them; on SQLite a session's note has made the file before."""
    insert = f"INSERT INTO {NOTES.name} (backend, key, not_before) SELECT {rows}"
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.exec_driver_sql(insert)
        return
    registered = LocalBackend(BACKEND, str(engine.url.database).removesuffix("test.db") + "first", fsync=False)
    storages.register_backend(registered)
    with Session(engine) as session:
        session.add(Document(id=1000))
        session.flush()
        session.add(Document(id=1001, file=a_file("noted")))
        session.flush()
        session.rollback()
    storages.unregister_backend(BACKEND)
    with closing(sqlite3.connect(f"{engine.url.database}-filestore")) as notes, notes:
        notes.execute(insert)


@pytest.fixture
def registry(tmp_path: Path) -> StorageRegistry:
    """The backends of the entries, with nothing in them."""
    registry = StorageRegistry()
    for number, key in enumerate(("b1", "b2", "b3", ELSEWHERE, BACKEND)):
        local = LocalBackend(key, tmp_path / str(number), fsync=False)
        local.storage_driver.start()
        registry.register_backend(StorageBackend(key, driver=FaultyDriver(local.storage_driver)))
    return registry


def make_due(engine: sa.Engine, key: str) -> None:
    """Make one entry of each kind due that a sweeper handles."""
    due = sa.update(LEDGER).where(LEDGER.c.backend.in_(("b1", "b2", "b3")), LEDGER.c.key == key)
    with engine.begin() as connection:
        connection.execute(due.values(not_before=LEDGER.c.not_before - 20 * LONG))


def test_sweep_with_nothing_to_do(engine: sa.Engine, registry: StorageRegistry) -> None:
    """A sweep that finds nothing searches an index once for each kind, and reads no entry."""
    with looking() as plans:
        assert sweep(engine, LEDGER, registry, SweepConfig(keep_deleted_for_seconds=KEEP_SECONDS)) == SweepResult()
    assert len(plans.seen) >= 2
    assert plans.faults() == {}


def test_sweep_with_something_to_do(engine: sa.Engine, registry: StorageRegistry) -> None:
    """Every statement that claims, asks, deletes and forgets finds its entries by an index."""
    make_due(engine, "00000007")
    with looking() as plans:
        result = sweep(engine, LEDGER, registry, SweepConfig(keep_deleted_for_seconds=KEEP_SECONDS))
    assert result == SweepResult(deleted=2, forgotten=1)
    assert len(plans.seen) >= 6
    assert plans.faults() == {}


@pytest.mark.parametrize(("owner", "entries"), [("alice", 0), ("bob", FEW), ("nobody", 0)])
def test_quota(engine: sa.Engine, owner: str, entries: int) -> None:
    """What an owner has is a sum of few entries and a counter."""
    with engine.connect() as connection, looking() as plans:
        assert Ledger(LEDGER).measure(connection, owner).entries == entries
    assert len(plans.seen) == 1
    assert plans.faults() == {}


def test_counting(engine: sa.Engine, registry: StorageRegistry) -> None:
    """A sweep finds what it has to count without a look at what it need not."""
    with engine.begin() as connection:
        Ledger(LEDGER).want_counter(connection, "alice")
    with looking() as plans:
        assert sweep(engine, LEDGER, registry, SweepConfig(keep_deleted_for_seconds=KEEP_SECONDS)) == SweepResult()
    assert sum(LEDGER.name in sql and "counted" in sql for sql in plans.seen) >= 1
    assert plans.faults() == {}


def test_row(engine: sa.Engine, registry: StorageRegistry) -> None:
    """What a session asks and changes for a row with a file, until the file is doomed, it finds by primary keys."""
    storages.register_backend(registry.get_backend(BACKEND))
    with Session(engine) as session, looking() as plans:
        session.add(Document(id=2000, file=a_file("one")))
        session.commit()
        session.get_one(Document, 2000).file = a_file("two")
        session.commit()
        session.execute(sa.delete(Document))
        session.commit()
    storages.unregister_backend(BACKEND)
    assert sum(LEDGER.name in sql for sql in plans.seen) >= 2
    assert plans.faults() == {}


def test_object_without_row(engine: sa.Engine) -> None:
    """What uploads ask and change before there is a row, they find by primary keys."""
    ledger, key = Ledger(LEDGER), ObjectKey(BACKEND, "new")
    with engine.begin() as connection, looking() as plans:
        ledger.stage(connection, [key], owner="bob")
        ledger.record(connection, key, Facts(1, None))
        ledger.prolong(connection, [key])
        ledger.states(connection, [key])
        ledger.keep(connection, key, Facts(1, None))
        ledger.abandon(connection, [key], [State.KEPT])
        connection.rollback()
    assert len(plans.seen) >= 5
    assert plans.faults() == {}


def test_fsck(engine: sa.Engine, registry: StorageRegistry) -> None:
    """Rows, listing and entries of one backend are compared without a look at the entries of others."""
    storages.register_backend(backend := registry.get_backend(BACKEND))
    with Session(engine) as session:
        session.add_all([Document(id=number, file=a_file(str(number))) for number in range(1, 4)])
        session.commit()
        with looking() as plans:
            report = fsck(engine, LEDGER, [sa.inspect(Document)], [backend], FsckConfig(repair=True))
        session.execute(sa.delete(Document))
        session.commit()
    storages.unregister_backend(BACKEND)
    assert report.row_files == 3
    assert len(plans.seen) >= 2
    # That counters are right can only be seen by counting everything.
    assert [sql for sql in plans.faults() if "HAVING" not in sql] == []


def test_fsck_of_very_many_entries(engine: sa.Engine, registry: StorageRegistry) -> None:
    """Each page of the entries begins in the index where the last one ended."""
    with looking(limit=3) as plans, pytest.raises(EnoughError):
        fsck(engine, LEDGER, [sa.inspect(Document)], [registry.get_backend(ELSEWHERE)], FsckConfig())
    assert plans.seen
    assert plans.faults() == {}
