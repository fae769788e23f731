"""Quotas: checks that are called before an object of an owner is entered."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Table

from litestar_filestore.ledger.ledger import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from litestar_filestore.ledger.ledger import Ledger

__all__ = (
    "QuotaCheck",
    "ask_quota",
    "asks_quota",
    "enforce_quota",
    "owner_of_new_objects",
)

owner_of_new_objects: ContextVar[str | None] = ContextVar("litestar_filestore_owner", default=None)
"""The owner of new objects. Set it for a request or task: the ledger records it for everything stored meanwhile, and
upload links carry it to their uploads. If a row takes an object without an owner, it becomes this owner's."""

QuotaCheck: TypeAlias = "Callable[[str, Usage], None]"
"""Takes an owner and the owner's usage, including the new object, and raises to refuse the new object.

Raise `QuotaExceededError` for that; the caller gets other errors unchanged. It runs inside a transaction of the ledger,
on the event loop for async engines, so it must not block."""

_MANY = 100
"""An owner for whom more entries are read than this gets a counter."""

_checks: WeakKeyDictionary[Table, list[QuotaCheck]] = WeakKeyDictionary()


def enforce_quota(table: Table, check: QuotaCheck) -> Callable[[], None]:
    """Call `check` before an object with an owner is entered into the ledger in `table`, in any database.

    Each check costs one query for each object that is stored. It reads some hundred entries of the owner at most, as
    sweeps keep counters of owners with more.

    Returns:
        A function that stops it.
    """
    checks = _checks.setdefault(table, [])
    checks.append(check)
    return lambda: checks.remove(check)


def asks_quota(table: Table, owner: str | None) -> bool:
    """Return whether a check wants to see what an owner stores before a row takes it."""
    return owner is not None and bool(_checks.get(table))


def ask_quota(
    ledger: Ledger,
    connection: Connection,
    owner: str | None,
    *,
    is_beside: bool = True,
    announced_bytes: int | None = None,
) -> None:
    """Call all checks of a ledger, in the transaction that has entered the new object; their errors pass through.

    Args:
        ledger: The ledger.
        connection: The transaction.
        owner: The owner of the new object; nobody is asked about an object without an owner.
        is_beside: Whether this is a short transaction of our own. One of the application writes no counter: it would
            hold it until it ends.
        announced_bytes: Size of an object that is not entered yet.
    """
    checks = _checks.get(ledger.table)
    if owner is None or not checks:
        return
    measure = ledger.measure(connection, owner)
    if is_beside and measure.entries > _MANY and not measure.is_wanted:
        ledger.want_counter(connection, owner)
    usage = measure.usage
    if announced_bytes is not None:
        usage = usage._replace(objects=usage.objects + 1, bytes=usage.bytes + announced_bytes)
    for check in tuple(checks):
        check(owner, usage)
