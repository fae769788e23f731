"""Ends connections to a server that does not answer, instead of waiting for it.

asyncpg (0.32) waits for the server's end of a connection without a limit, and SQLAlchemy (2.1) gives it none: with a
silent database ``engine.dispose()`` never returns, and the process that wants to end does not.
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
"""A short transaction of the ledger may take so long. SQLite, which is no server, has limits of its own."""
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_GRACE_SECONDS = 1.0
"""After so long, work that a shut connection has not ended is cancelled: it has none yet."""
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
"""By driver, what limits the time of connecting. libpq has no limit of its own for a server that accepts and hangs."""
_KEY = "litestar_filestore.conversation"
_SILENT_SECONDS = 1.0
"""A goodbye that took longer was not answered. SQLAlchemy waits for two seconds, then it cuts the connection."""
_REMEMBERED_SECONDS = 30.0


def close_in_time(engine: Engine) -> None:
    """Have the connections of an engine's pool closed within seconds, all of them together; once for each pool."""
    pool: Any = engine.pool
    if engine.dialect.driver != "asyncpg" or any(isinstance(each, _Closing) for each in pool.dispatch.close):
        return
    event.listen(engine, "close", _Closing())


class _Closing:
    """Ends connections before the pool closes them, which has nothing to wait for then."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, connection: Any, record: Any) -> None:
        begin = time.monotonic()
        if begin < self._silent_until:
            record.driver_connection.terminate()  # the one before had no answer: this one says no goodbye
            return
        connection.terminate()  # says goodbye, for two seconds at the most
        end = time.monotonic()
        if end - begin > _SILENT_SECONDS:
            self._silent_until = end + _REMEMBERED_SECONDS


class _Conversation:
    """The connections that one piece of work has out of pools that `hold_conversations` knows."""

    def __init__(self) -> None:
        self._connections: list[Any] = []
        self.is_over = False
        """Whether it was ended from outside."""

    @contextmanager
    def present(self) -> Generator[None]:
        """Return a context in which connections that are taken belong to this conversation, also in threads."""
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
        """Note that it was given back, or is being closed: its descriptor may be another's from now on."""
        with suppress(ValueError):
            self._connections.remove(connection)

    def end(self) -> None:
        """Shut every connection that is out, and those that are still taken; may be called from any thread."""
        self.is_over = True
        for connection in tuple(self._connections):
            _shut(connection)


_present: ContextVar[_Conversation | None] = ContextVar("litestar_filestore_conversation", default=None)


def hold_conversations(engine: Engine, pool: Pool) -> None:
    """Let conversations know which connections of `pool`, in which the dialect of `engine` connects, they have out."""

    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        if (conversation := _present.get()) is not None:
            record.info[_KEY] = conversation
            conversation.add(_driven(connection))
        if pings:
            _ping(engine.dialect, connection)

    def given_back(connection: Any, record: Any, *_: Any) -> None:
        if (conversation := record.info.pop(_KEY, None)) is not None:
            conversation.remove(_driven(connection))

    # SQLAlchemy pings before it tells that a connection is out, so nobody could end a ping that is not answered.
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
    """Connect with a limit where a conversation does, in place of SQLAlchemy. Other connections are not ours."""
    name = _CONNECT_OPTIONS.get(dialect.driver)
    if _present.get() is None or name is None or name in options:
        return None
    limits = {name: _CONNECT_SECONDS}
    if dialect.driver == "pymysql":
        limits["read_timeout"] = _READ_SECONDS  # its limit for connecting does not count for the server's greeting
    return dialect.connect(*arguments, **{**limits, **options})


class _Descriptor(Protocol):
    def fileno(self) -> int: ...


def _shut(connection: Any) -> None:
    """End a driver's connection, so that whoever waits for its server gets an error.

    Closing is not enough: it waits for the server as well, or for the thread that reads.
    """
    if callable(terminate := getattr(connection, "terminate", None)):  # asyncpg
        terminate()
        return
    found: _Descriptor | None = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if found is not None:  # psycopg and psycopg2; pymysql
        with suppress(Exception):  # closed at this moment, in whatever words the driver says so
            _shut_socket(found.fileno())
    elif (writer := getattr(connection, "_writer", None)) is not None:  # aiomysql and asyncmy
        writer.transport.abort()


def _shut_socket(descriptor: int) -> None:
    shared = socket.socket(fileno=descriptor)
    try:
        shared.shutdown(socket.SHUT_RDWR)
    finally:
        shared.detach()  # it is the driver's to close


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
    """Run `work`, which talks to a database, to its end, but make that end come: its connections are shut in time.

    A caller that is cancelled meanwhile notices at the end: drivers lose connections whose statement is interrupted.

    Args:
        work: Takes its connections from pools that `hold_conversations` knows.

    Raises:
        sqlalchemy.exc.DBAPIError: If they were shut, for instance; the transaction may be committed all the same.
        TimeoutError: If there was none to shut.
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
