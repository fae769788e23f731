"""The ledger's statements for objects that no row holds: given up, or kept on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from litestar_filestore.errors import LinkLostError
from litestar_filestore.orm.clock import database_now
from litestar_filestore.orm.ledger_table import State, is_one_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, CursorResult

    from litestar_filestore.orm.ledger import Facts, Ledger, ObjectKey

__all__ = ("abandon", "forget", "keep")


def abandon(
    ledger: Ledger, connection: Connection, keys: Collection[ObjectKey], states: Collection[State] = (State.STAGED,)
) -> int:
    """Doom those objects that no row has taken, at once instead of when their lease runs out.

    One conditional statement. Entries that an open transaction has changed are skipped where the database can do that:
    whether their rows will be there is not known yet, and their lease is still there if they will not.

    Args:
        ledger: Knows the objects.
        connection: A transaction of its own.
        keys: The objects.
        states: What they have to be to be given up.

    Returns:
        How many were doomed.
    """
    table = ledger.table
    free = sa.and_(is_one_of(table, keys), table.c.state.in_(states))
    if not connection.execute(sa.select(table.c.key).where(free).limit(1)).first():
        return 0  # as after most requests: looking takes no lock that writers wait for
    # MySQL selects from a table that it updates only by way of a derived one.
    unlocked = sa.select(table.c.backend, table.c.key).where(free).with_for_update(skip_locked=True).subquery()
    statement = (
        sa.update(table)
        .where(free, sa.tuple_(table.c.backend, table.c.key).in_(sa.select(unlocked.c.backend, unlocked.c.key)))
        .values(state=State.DOOMED, not_before=database_now())
    )
    return cast("CursorResult[object]", connection.execute(statement)).rowcount


def forget(ledger: Ledger, connection: Connection, keys: Collection[ObjectKey]) -> None:
    """Take staged objects out that nobody has begun to write: there is nothing to delete, and no late writer.

    Those that are in another state, or in no entry at all, stay as they are.
    """
    table = ledger.table
    connection.execute(sa.delete(table).where(is_one_of(table, keys), table.c.state == State.STAGED))


def keep(ledger: Ledger, connection: Connection, key: ObjectKey, facts: Facts, *, owner: str | None = None) -> None:
    """Have an object stay although no row holds it; it becomes `owner`'s if it is nobody's.

    Raises:
        LinkLostError: If it was given up.
        sqlalchemy.exc.IntegrityError: If a transaction that was open has entered the object meanwhile; ask again.
    """
    table = ledger.table
    statement = (
        sa.update(table)
        .where(is_one_of(table, [key]), table.c.state == State.STAGED)
        .values(state=State.KEPT, not_before=database_now(), owner=sa.func.coalesce(table.c.owner, owner))
    )
    if cast("CursorResult[object]", connection.execute(statement)).rowcount:
        return
    state = ledger.states(connection, [key], latest=True).get(key)
    if state in {State.DOOMED, State.GONE}:
        raise LinkLostError("The object was given up before it was kept; store the content again", key=key.key)
    if state is None:
        ledger.insert_kept(connection, {key: facts}, owner=owner)
