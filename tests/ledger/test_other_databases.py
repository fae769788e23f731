"""The ledger where each transaction is SERIALIZABLE, and where a claim may not use SKIP LOCKED.

The tests are those of other modules, on a database of another kind: `serializable` and `cockroach` in the fixtures.
"""

from __future__ import annotations

import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from litestar_filestore.ledger.staging import transact
from litestar_filestore.ledger.sweep import SweepConfig
from tests.ledger import cockroach, test_bulk, test_ledger, test_sweep, test_uploads
from tests.ledger.models import Document, a_file
from tests.ledger.test_uploads import engine
from tests.ledger.world import LEDGER, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("cockroach", "engine")  # the dialects are registered, and the fixture is used by its name

# In these another transaction changes what one of the application has read. At SERIALIZABLE the server refuses that
# with 40001, before the ledger can say why.
OTHERWISE = {
    "test_row_that_changes_before_the_lock",
    "test_link_lost_between_put_and_link",
    "test_link_lost_between_two_transactions",
    "test_row_that_vanished",
    "test_row_that_was_replaced_meanwhile",
    "test_row_that_was_replaced_before_it_was_loaded",
    "test_file_assigned_over_a_row_that_got_one_meanwhile",
}
KINDS = {
    test_bulk: ["serializable"],
    test_ledger: ["serializable"],
    test_sweep: ["serializable", "cockroach"],
    test_uploads: ["serializable"],
}
ROWS = range(1, 61)
on_both = pytest.mark.parametrize("url", ["serializable", "cockroach"], indirect=True)


def _tests() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module, kinds in KINDS.items():
        for name, function in vars(module).items():
            marks = getattr(function, "pytestmark", [])
            is_for_one = any(mark.name == "parametrize" and mark.args[0] == "url" for mark in marks)
            if name.startswith("test_") and not is_for_one and name not in OTHERWISE:
                copy = FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
                copy.__doc__ = function.__doc__
                vars(copy)["pytestmark"] = [
                    *marks,
                    pytest.mark.slow.mark,
                    pytest.mark.parametrize("url", kinds, indirect=True).mark,
                ]
                yield f"{module.__name__.rpartition('.')[2]}_{name.removeprefix('test_')}", copy


globals().update(_tests())


@on_both
def test_sweepers_at_once(world: World) -> None:
    """Sweepers that get in each other's way begin again, and delete each object once."""
    with Session(world.engine) as session:
        session.add_all([Document(id=number, file=a_file("one")) for number in ROWS])
        session.commit()
        session.execute(sa.delete(Document))
        session.commit()
    deleted: list[int] = []

    def run() -> None:
        deleted.append(world.sweep(SweepConfig(batch_size=7)).deleted)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(deleted) == len(threads)
    deleted.append(world.sweep().deleted)
    assert sum(deleted) == len(ROWS)


@on_both
def test_claim_has_the_right_statement(world: World, url: str) -> None:
    """Under the name of CockroachDB's dialect no claim skips what is locked."""
    seen: list[str] = []

    def look(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    event.listen(world.engine, "before_cursor_execute", look)
    world.sweep()
    claims = [sql for sql in seen if LEDGER.name in sql and "ORDER BY" in sql and "attempts" in sql]
    assert len(claims) == 3
    assert {"SKIP LOCKED" in sql for sql in claims} == {not url.startswith("cockroachdb")}
    assert {"RETURNING" in sql for sql in claims} == {url.startswith("cockroachdb")}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_transaction_is_repeated(world: World, code: str) -> None:
    """A transaction of our own that the server ends because of another one is begun again."""
    times = 0

    def work(connection: sa.Connection) -> int:
        nonlocal times
        times += 1
        if times < 4:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")
        return times

    assert transact(world.engine, work) == 4


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_other_errors_are_not_repeated(world: World) -> None:
    """An error that would come again is raised at once."""
    times = 0

    def work(connection: sa.Connection) -> None:
        nonlocal times
        times += 1
        connection.exec_driver_sql("DO $$ BEGIN RAISE SQLSTATE '57014'; END $$")

    with pytest.raises(OperationalError):
        transact(world.engine, work)
    assert times == 1
