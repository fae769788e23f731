"""Lets the sessions of a process that write files to an SQLite database write one after the other.

SQLite has one writer, and those that wait for it poll: whoever polls at the right moment gets the lock, and under many
writers one of them runs out of time ("database is locked"). Here the one that has waited longest is next. A turn ends
with its transaction. It only orders; the lock is still SQLite's, which other processes and other sessions share.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from litestar_filestore.errors import DatabaseUnavailableError
from litestar_filestore.ledger.staging import owner_of_pool, staging_engine
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.orm import Session

__all__ = ("end_turn", "take_turn")

_WAIT_SECONDS = 5.0
"""As long as sqlite3 itself waits for the lock."""
_TURN = "litestar_filestore.turn"


class _Queue:
    """The sessions that want to write to one database."""

    def __init__(self) -> None:
        self.writer: ref[Session] | None = None
        self.waiting: deque[tuple[ref[Session], Future[None]]] = deque()
        self.lock = Lock()

    def enter(self, session: Session) -> Future[None] | None:
        """Give the session the turn, or return what is done when it has it."""
        with self.lock:
            if self.writer is None or self.writer() is None:
                self.writer = ref(session, self._gone)
                return None
            turn: Future[None] = Future()
            self.waiting.append((ref(session), turn))
            return turn

    def leave(self, session: Session) -> None:
        """End the turn of the session, or its wait."""
        with self.lock:
            self.waiting = deque(each for each in self.waiting if each[0]() is not session)
            if self.writer is not None and self.writer() is session:
                self._next()

    def _gone(self, writer: ref[Session]) -> None:
        # Called by the garbage collector, perhaps while this thread holds the lock: then whoever comes next looks.
        if self.lock.acquire(blocking=False):
            try:
                if self.writer is writer:
                    self._next()
            finally:
                self.lock.release()

    def _next(self) -> None:
        self.writer = None
        while self.waiting and self.writer is None:
            waiting, turn = self.waiting.popleft()
            session = waiting()
            if session is not None and turn.set_running_or_notify_cancel():
                self.writer = ref(session, self._gone)
                turn.set_result(None)


_queues: WeakKeyDictionary[Engine, _Queue | None] = WeakKeyDictionary()
"""By the engine that owns a pool; ``None`` for a database in memory, which no two connections share."""


def take_turn(session: Session, connection: Connection) -> None:
    """Wait until no other session of this process writes files to the database; nothing happens elsewhere.

    A session that has written already does not wait: it has the lock, and those in the queue may wait for it.

    Raises:
        DatabaseUnavailableError: If another session writes for too long.
    """
    if connection.dialect.name != "sqlite" or _TURN in session.info:
        return
    if getattr(connection.connection.driver_connection, "in_transaction", True):
        return
    engine = owner_of_pool(connection.engine)
    if engine not in _queues:
        _queues[engine] = _Queue() if staging_engine(engine) is not None else None
    if (queue := _queues[engine]) is None:
        return
    session.info[_TURN] = queue
    if (turn := queue.enter(session)) is not None:
        try:
            call(lambda: turn.result(_WAIT_SECONDS), lambda: asyncio.wait_for(asyncio.wrap_future(turn), _WAIT_SECONDS))
        except BaseException as error:
            end_turn(session)
            if not isinstance(error, TimeoutError):
                raise
            raise DatabaseUnavailableError(
                "Another session of this process has written to the SQLite database for too long; try again later"
            ) from error


def end_turn(session: Session) -> None:
    """End the turn of a session whose transaction has ended."""
    queue: Any = session.info.pop(_TURN, None)
    if queue is not None:
        queue.leave(session)
