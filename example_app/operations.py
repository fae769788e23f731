"""A page for those who run the application: what the ledger knows.

There are no users here. In an application that has some, guards keep this page for its operators.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from litestar import get, post
from litestar.di import NamedDependency
from litestar.response import Template
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from example_app.models import Document
from litestar_filestore import Storages
from litestar_filestore.ledger import State, SweepConfig, ledger_of, sweep_async

DAY = 24 * 3600
DAYS = 14

SWEEP = SweepConfig()
"""The application's sweeps; a deleted object's entry tells with it when the object was deleted."""

_table = ledger_of(Document.metadata)
assert _table is not None  # noqa: S101  # the column type has made it
LEDGER = _table
_HERE = LEDGER.c
_STORED = _HERE.state.in_((State.STAGED, State.KEPT, State.SHARED, State.LINKED, State.DOOMED))

MEANINGS = {
    State.STAGED: "Being uploaded, or waiting for its row",
    State.KEPT: "Kept without a row, on purpose",
    State.SHARED: "Held by several rows, from before the ledger",
    State.LINKED: "Held by a row",
    State.DOOMED: "Given up, the next sweep deletes it",
    State.GONE: "Deleted; the entry stays for a day",
}


@dataclass
class Bar:
    """One day of the chart."""

    day: datetime
    bytes: int
    height: float
    """From 0 to 100."""


@get("/operations", include_in_schema=False)
async def operations(db_session: NamedDependency[AsyncSession]) -> Template:
    """Show what is stored, and what waits for the sweeper."""
    return Template("operations.html", context=await _facts(db_session))


@post("/operations/sweep", status_code=200, include_in_schema=False)
async def sweep_now(
    db_session: NamedDependency[AsyncSession], db_engine: NamedDependency[AsyncEngine], storages: Storages
) -> Template:
    """Sweep, as the plugin does by itself every minute, and show what came of it."""
    swept = await sweep_async(db_engine, LEDGER, storages, SWEEP)
    return Template("operations.html", context={**await _facts(db_session), "swept": swept})


async def _facts(db_session: AsyncSession) -> dict[str, Any]:
    rows = await db_session.execute(
        select(_HERE.state, func.count(), func.coalesce(func.sum(_HERE.size), 0)).group_by(_HERE.state)
    )
    states = {state: (count, size) for state, count, size in rows}
    newest_gone = await db_session.scalar(select(func.max(_HERE.not_before)).where(_HERE.state == State.GONE))
    failing = await db_session.execute(
        select(_HERE.key, _HERE.attempts, _HERE.last_error).where(_HERE.last_error.is_not(None)).limit(10)
    )
    return {
        "states": [(state.value, meaning, *states.get(state, (0, 0))) for state, meaning in MEANINGS.items()],
        "last_delete": newest_gone and datetime.fromtimestamp(newest_gone - SWEEP.tombstone_seconds, UTC),
        "failing": failing.all(),
        "bars": await _bars(db_session),
        "total": await db_session.scalar(select(func.coalesce(func.sum(_HERE.size), 0)).where(_STORED)),
    }


async def _bars(db_session: AsyncSession) -> list[Bar]:
    """Return how many of the stored bytes came on each of the last days."""
    first = (int(time.time()) // DAY - DAYS + 1) * DAY
    begins = [first + number * DAY for number in range(DAYS)]
    # One statement that every database understands: dates are where their dialects differ most.
    of_days = (
        func.coalesce(func.sum(case((_HERE.created_at.between(begin, begin + DAY - 1e-6), _HERE.size), else_=0)), 0)
        for begin in begins
    )
    sums = (await db_session.execute(select(*of_days).where(_STORED, _HERE.created_at >= first))).one()
    most = max(*sums, 1)
    return [
        Bar(datetime.fromtimestamp(begin, UTC), int(size), round(100 * float(size / most), 1))
        for begin, size in zip(begins, sums, strict=True)
    ]
