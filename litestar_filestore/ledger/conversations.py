"""Ends connections to a server that does not answer, instead of waiting for it.

asyncpg (0.32) waits without a limit for the server to close a connection, and SQLAlchemy (2.1) sets no limit: with a
silent database, ``engine.dispose()`` never returns, and the process cannot end.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import Timer
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.util.concurrency import in_greenlet

from litestar_filestore.core.threads import finish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from sqlalchemy import Engine
    from sqlalchemy.engine import Dialect
    from sqlalchemy.pool import Pool

__all__ = (
    "close_in_time",
    "heard",
    "hold_conversations",
    "limited",
)

T = TypeVar("T")

_SILENCE_SECONDS = 5.0
"""How long a short transaction of the ledger may take. SQLite, which is no server, has other limits."""
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_GRACE_SECONDS = 1.0
"""How long work may go on after its connections were shut; then it is cancelled, as it has no connection yet."""
_CONNECT_OPTIONS = {
    "asyncpg": "timeout",
    "psycopg": "connect_timeout",
    "psycopg_async": "connect_timeout",
    "psycopg2": "connect_timeout",
    "aiomysql": "connect_timeout",
    "asyncmy": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
}
"""Options that limit the time of connecting, by driver. libpq has no limit for a server that accepts and hangs."""
_KEY = "litestar_filestore.conversation"
_SILENT_SECONDS = 1.0
"""A close that took longer was not answered. SQLAlchemy waits for two seconds, then cuts the connection."""
_REMEMBERED_SECONDS = 30.0


def close_in_time(engine: Engine) -> None:
    """Make an engine's pool close all its connections within seconds; call it once for each pool."""
    pool: Any = engine.pool
    if engine.dialect.driver != "asyncpg" or any(isinstance(each, _Closing) for each in pool.dispatch.close):
        return
    event.listen(engine, "close", _Closing())


class _Closing:
    """Ends connections before the pool closes them, so that the pool has nothing to wait for."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, connection: Any, record: Any) -> None:
        begin = time.monotonic()
        if begin < self._silent_until:
            record.driver_connection.terminate()  # the previous close had no answer, so this one does not wait for any
            return
        connection.terminate()  # waits for the server, for two seconds at most
        end = time.monotonic()
        if end - begin > _SILENT_SECONDS:
            self._silent_until = end + _REMEMBERED_SECONDS


class _Conversation:
    """The connections that one piece of work has taken from pools known to `hold_conversations`."""

    def __init__(self) -> None:
        self._connections: list[Any] = []
        self.is_over = False
        """Whether its connections were shut from outside."""

    @contextmanager
    def present(self) -> Generator[None]:
        """Return a context in which taken connections belong to this conversation, also in threads."""
        token = _present.set(self)
        try:
            yield
        finally:
            _present.reset(token)

    def add(self, connection: Any) -> None:
        """Note a driver's connection that was taken."""
        self._connections.append(connection)
        if self.is_over:
            _shut(connection)

    def remove(self, connection: Any) -> None:
        """Note that it was given back, or is being closed: its descriptor may be reused from now on."""
        with suppress(ValueError):
            self._connections.remove(connection)

    def end(self) -> None:
        """Shut every taken connection, and those taken later; may be called from any thread."""
        self.is_over = True
        for connection in tuple(self._connections):
            _shut(connection)


_present: ContextVar[_Conversation | None] = ContextVar("litestar_filestore_conversation", default=None)


def hold_conversations(engine: Engine, pool: Pool) -> None:
    """Let conversations track the connections of `pool`, for which the dialect of `engine` connects."""

    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        if (conversation := _present.get()) is not None:
            record.info[_KEY] = conversation
            conversation.add(_driven(connection))
        if pings:
            _ping(engine.dialect, connection)

    def given_back(connection: Any, record: Any, *_: Any) -> None:
        if (conversation := record.info.pop(_KEY, None)) is not None:
            conversation.remove(_driven(connection))

    # SQLAlchemy pings before it reports that a connection is taken, so an unanswered ping could not be ended.
    pings = bool(getattr(pool, "_pre_ping", False))
    cast("Any", pool)._pre_ping = False  # noqa: SLF001  # there is no other way to do it here
    event.listen(pool, "checkout", taken)
    event.listen(pool, "checkin", given_back)
    event.listen(pool, "invalidate", given_back)
    if not event.contains(engine, "do_connect", _connect_in_time):
        event.listen(engine, "do_connect", _connect_in_time)


def _ping(dialect: Dialect, connection: Any) -> None:
    try:
        is_there = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError(str(error)) from error
    if not is_there:
        raise DisconnectionError


def _driven(connection: Any) -> Any:
    return getattr(connection, "driver_connection", connection)


def _connect_in_time(dialect: Dialect, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Connect in place of SQLAlchemy, with a time limit, if a conversation connects; leave other connections alone."""
    name = _CONNECT_OPTIONS.get(dialect.driver)
    if _present.get() is None or name is None or name in options:
        return None
    limits = {name: _CONNECT_SECONDS}
    if dialect.driver == "pymysql":
        limits["read_timeout"] = _READ_SECONDS  # its limit for connecting does not cover the server's greeting
    return dialect.connect(*arguments, **{**limits, **options})


class _Descriptor(Protocol):
    def fileno(self) -> int: ...


def _shut(connection: Any) -> None:
    """End a driver's connection, so that code that waits for its server gets an error.

    Closing is not enough: it waits for the server as well, or for the thread that reads.
    """
    if callable(terminate := getattr(connection, "terminate", None)):  # asyncpg
        terminate()
        return
    found: _Descriptor | None = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if found is not None:  # psycopg and psycopg2; pymysql
        with suppress(Exception):  # it may be closed at this moment; each driver raises another error
            _shut_socket(found.fileno())
    elif (writer := getattr(connection, "_writer", None)) is not None:  # aiomysql and asyncmy
        writer.transport.abort()


def _shut_socket(descriptor: int) -> None:
    shared = socket.socket(fileno=descriptor)
    try:
        shared.shutdown(socket.SHUT_RDWR)
    finally:
        shared.detach()  # the driver closes it


@contextmanager
def limited(seconds: float) -> Generator[None]:
    """Return a context whose connections are shut after a time, for work in a thread or in SQLAlchemy's greenlet."""
    conversation = _Conversation()
    # Connections of an event loop are shut on it.
    timer = (asyncio.get_running_loop().call_later if in_greenlet() else _timer)(seconds, conversation.end)
    try:
        with conversation.present():
            yield
    finally:
        timer.cancel()


def _timer(seconds: float, function: Callable[[], None]) -> Timer:
    timer = Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


async def heard(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, which uses a database, to its end; if it takes too long, shut its connections.

    A cancellation of the caller takes effect at the end: drivers lose connections whose statement is interrupted.

    Args:
        work: Takes its connections from pools known to `hold_conversations`.

    Raises:
        sqlalchemy.exc.DBAPIError: For example if they were shut; the transaction may be committed all the same.
        TimeoutError: If there was no connection to shut.
    """
    conversation = _Conversation()
    with conversation.present():
        task = asyncio.ensure_future(work())
    later = asyncio.get_running_loop().call_later
    timers = later(_SILENCE_SECONDS, conversation.end), later(_SILENCE_SECONDS + _GRACE_SECONDS, task.cancel)
    try:
        return await finish(task)
    except asyncio.CancelledError:
        if task.cancelled() and conversation.is_over:
            raise TimeoutError(
                f"The database did not answer within {_SILENCE_SECONDS:g} seconds; try again later"
            ) from None
        raise
    finally:
        for timer in timers:
            timer.cancel()
