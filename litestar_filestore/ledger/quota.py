"""Quotas: checks that are asked before an object of an owner is entered."""

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
    "enforce_quota",
    "owner_of_new_objects",
)

owner_of_new_objects: ContextVar[str | None] = ContextVar("litestar_filestore_owner", default=None)
"""Set it for a request or task; what is stored meanwhile carries it in the ledger, and links to upload carry it to what
comes through them. A row that takes an object of nobody makes it this owner's."""

QuotaCheck: TypeAlias = "Callable[[str, Usage], None]"
"""Takes an owner and what that owner's objects take up, the new one included, and raises to refuse the new one.

`QuotaExceededError` is the error for that; others reach the caller as they are. It runs inside a transaction of the
ledger, on the event loop for async engines, so it must not wait for anything."""

_checks: WeakKeyDictionary[Table, list[QuotaCheck]] = WeakKeyDictionary()


def enforce_quota(table: Table, check: QuotaCheck) -> Callable[[], None]:
    """Ask `check` before an object with an owner is entered into the ledger in `table`, in any database.

    Each check costs one query for each object that is stored; it reads one index entry per object of the owner.

    Returns:
        What ends it.
    """
    checks = _checks.setdefault(table, [])
    checks.append(check)
    return lambda: checks.remove(check)


def ask_quota(ledger: Ledger, connection: Connection, owner: str | None) -> None:
    """Ask all checks of a ledger, and raise what they raise; in the transaction that has entered the new object."""
    checks = _checks.get(ledger.table)
    if owner is None or not checks:
        return
    usage = ledger.usage(connection, owner)
    for check in tuple(checks):
        check(owner, usage)
