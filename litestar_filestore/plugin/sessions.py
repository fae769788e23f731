"""Database sessions of a request that an extension closes with the answer, which may be long in coming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.tracking.idle import has_only_read

if TYPE_CHECKING:
    from litestar.types import Scope

__all__ = ("let_sessions_go",)

_ADVANCED_ALCHEMY = "_aa_connection_state"
"""Where Advanced Alchemy keeps the sessions of a connection, by names that its configuration chooses."""


async def let_sessions_go(scope: Scope) -> None:
    """Close the sessions of a request that have only read, so that nobody waits for their connections meanwhile.

    Advanced Alchemy does the same when the answer begins. An answer that is a file begins with the first block that the
    store gives. A session that has written something stays: its extension may commit it, by the status of the answer.
    """
    kept = cast("dict[str, Any]", scope).get(_ADVANCED_ALCHEMY)
    for session in tuple(cast("dict[str, Any]", kept).values()) if isinstance(kept, dict) else ():
        if isinstance(session, AsyncSession) and has_only_read(session.sync_session):
            await session.close()
        elif isinstance(session, Session) and has_only_read(session):
            await run_blocking(session.close)
