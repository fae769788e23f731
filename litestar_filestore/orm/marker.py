"""A hidden object in every backend that says which database looks after it.

Staging that was copied from production points at production's bucket, and finds it full of objects that its ledger has
never heard of. The marker is what stops the clean-up.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from litestar_filestore.core.keys import RESERVED_SEGMENT, join_prefix
from litestar_filestore.core.types import PutOptions
from litestar_filestore.errors import LedgerError, ObjectNotFoundError
from litestar_filestore.orm._bridge import call
from litestar_filestore.orm.clock import database_now

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy import Engine, Table

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("check_marker", "database_id")

_MARKER = f"{RESERVED_SEGMENT}/database"
_ID_KEY = "database-id"
_ID_STATE = "marker"


def database_id(engine: Engine, table: Table) -> str:
    """Return the identity of this database, made at the first call and kept in the ledger."""
    c = table.c
    query = sa.select(c.owner).where(c.backend == "", c.key == _ID_KEY)
    new = sa.insert(table).values(
        backend="",
        key=_ID_KEY,
        state=_ID_STATE,
        owner=secrets.token_hex(16),
        created_at=database_now(),
        not_before=database_now(),
        attempts=0,
    )
    with engine.connect() as connection:
        found = connection.execute(query).scalar()
    if found is None:
        with suppress(IntegrityError), engine.begin() as connection:  # another process was faster: its id counts
            connection.execute(new)
        with engine.connect() as connection:
            found = connection.execute(query).scalar_one()
    return str(found)


def check_marker(engine: Engine, table: Table, backend: StorageBackend, *, claim: bool) -> None:
    """Make sure that `backend` is this database's, and with `claim` mark it if nobody has.

    Raises:
        LedgerError: If it is marked as another database's.
    """
    path = join_prefix(backend.prefix or "", _MARKER)
    mine = database_id(engine, table)
    try:
        theirs = _read(backend, path).decode()
    except ObjectNotFoundError:
        if claim:
            _write(backend, path, mine.encode())
        return
    except FileNotFoundError:
        return
    if theirs != mine:
        raise LedgerError(
            "This backend is looked after by another database. If the databases were separated on purpose, "
            f"delete its object {_MARKER!r}",
            operation="fsck",
            backend=backend.key,
        )


def _read(backend: StorageBackend, path: str) -> bytes:
    driver = backend.storage_driver

    async def read() -> bytes:
        return b"".join([block async for block in driver.get_async(path, 0, None)])

    try:
        return call(lambda: b"".join(driver.get(path, 0, None)), read)
    except Exception as error:
        translated = driver.translate(error)
        if translated is None:
            raise
        raise translated from error


def _write(backend: StorageBackend, path: str, content: bytes) -> None:
    driver = backend.storage_driver
    options = PutOptions(size=len(content))

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield content

    call(partial(driver.put, path, iter([content]), options), partial(driver.put_async, path, blocks(), options))
