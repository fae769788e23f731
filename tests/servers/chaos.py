"""A TCP proxy that disturbs what passes through it.

Put it between a client and a real server, and change it while connections are open::

    async with ChaosProxy("127.0.0.1", port) as proxy:
        proxy.cut = Cut(after_bytes=100_000, direction="to_client")
        ...  # talk to 127.0.0.1:proxy.port

Tests without an event loop, and those whose loop is the one under test, let it run in a thread of its own::

    with running_proxy("127.0.0.1", port) as faults:
        faults.hold()
        ...  # talk to 127.0.0.1:faults.port
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Literal, Self, TypeVar

from tests.servers.sockets import Connection, bind, reset

__all__ = ("ChaosProxy", "Cut", "Direction", "LostAnswer", "ThreadedProxy", "running_proxy")

T = TypeVar("T")

Direction = Literal["to_client", "to_server"]

CHUNK_BYTES = 16 * 1024
QUEUED_CHUNKS = 64

PACE_SECONDS = 0.02
"""With a limited rate, so much time's worth of bytes is passed on at once."""


@dataclass(frozen=True)
class Cut:
    """Where connections break."""

    after_bytes: int
    """In each connection so many bytes still pass in `direction`; with the next one the connection breaks."""
    direction: Direction
    how: Literal["finish", "reset", "stall"] = "reset"
    """`reset` sends RST to both ends, as a machine that crashed and came back; `finish` sends FIN to both; `stall`
    leaves the connection open, and nothing more arrives in `direction`."""


@dataclass
class LostAnswer:
    """A request whose connection breaks before its answer is passed on."""

    request: bytes
    """Part of what the client sends."""
    passing: int = 0
    """How many such requests are answered before."""
    delivered: bool = True
    """Whether the server gets the request, and answers it."""


class ChaosProxy:
    """Passes connections on to a server. An asynchronous context manager: leaving it breaks what is open.

    Attributes:
        port: Where it listens on 127.0.0.1 while it is open.
        connections: How many it has taken so far.
        latency_seconds: How much later everything arrives, in each direction. Up to 1 MiB is on its way meanwhile.
        bytes_per_second: Rate in each direction of each connection, or None for no limit.
        cut: Where connections break, or None.
        lost_answer: The one request that is not answered, or None. It becomes None when the connection breaks.
        cuts_left: How many connections `cut` still breaks, or None for every one.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.latency_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.cut: Cut | None = None
        self.cuts_left: int | None = None
        self.lost_answer: LostAnswer | None = None
        self._upstream = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # It never listens: it keeps the port while nothing else does, and lets connections be refused then.
        self._placeholder = bind(0)
        self.port = self._placeholder.getsockname()[1]
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.refuse()
        self._placeholder.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def accept(self) -> None:
        """Take new connections, as it does at the beginning."""
        if self._server is None:
            self._server = await asyncio.start_server(self._take_connection, sock=bind(self.port), limit=CHUNK_BYTES)

    def refuse(self) -> None:
        """Let new connections fail with ECONNREFUSED. Open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def hold(self) -> None:
        """Become a black hole: connections are taken and stay open, but nothing arrives in either direction."""
        self._flowing.clear()

    def release(self) -> None:
        """End :meth:`hold`. Nothing is lost; what was held arrives now."""
        self._flowing.set()

    def drop(self) -> None:
        """Send RST to both ends of every open connection. New ones are taken as before."""
        for task in self._tasks:
            task.cancel()

    def _take_connection(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        # A task of our own: those that asyncio makes from a coroutine log their cancellation as an error (Python 3.11).
        self.connections += 1
        task = asyncio.create_task(self._serve(from_client, to_client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._upstream, limit=CHUNK_BYTES)
        except OSError:  # the server is not there
            reset(to_client)
            return
        except asyncio.CancelledError:
            reset(to_client)
            raise
        connection = Connection(to_client, to_server)
        ended = False
        try:
            async with asyncio.TaskGroup() as group:
                self._connect(group, from_client, "to_server", connection)
                self._connect(group, from_server, "to_client", connection)
            ended = True
        except* ConnectionError:
            pass  # an end has broken the connection, or a cut is to: the other end shall see that too
        finally:
            connection.close() if ended else connection.reset()

    def _connect(
        self, group: asyncio.TaskGroup, source: asyncio.StreamReader, direction: Direction, connection: Connection
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        group.create_task(self._read(source, queue))
        group.create_task(self._deliver(queue, direction, connection))

    async def _read(self, source: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Put what `source` sends into `queue`, with the time of its arrival; an empty chunk is the end."""
        chunk = b"not the end"
        while chunk:
            rate = self.bytes_per_second
            chunk = await source.read(CHUNK_BYTES if rate is None else min(CHUNK_BYTES, 1 + int(rate * PACE_SECONDS)))
            await queue.put((_now(), chunk))

    async def _deliver(
        self, queue: asyncio.Queue[tuple[float, bytes]], direction: Direction, connection: Connection
    ) -> None:
        target = connection.to_client if direction == "to_client" else connection.to_server
        target.transport.set_write_buffer_limits(0)  # so that drain() waits until the kernel has everything
        passed = 0
        stalled = False
        while chunk := await self._wait_for_chunk(queue):
            if connection.finished or stalled:
                continue
            self._lose(direction, chunk, connection)
            cut = self._due_cut(direction, passed + len(chunk))
            target.write(chunk if cut is None else chunk[: max(0, cut.after_bytes - passed)])
            await target.drain()
            passed += len(chunk)
            if cut is not None and cut.how == "reset":
                raise ConnectionResetError("cut")
            stalled = cut is not None and cut.how == "stall"
            if cut is not None and cut.how == "finish":
                connection.finish()
        if stalled:
            await asyncio.Event().wait()  # until the connection is dropped, or its other direction breaks
        if not connection.finished:
            with suppress(OSError):  # the other side has gone already
                target.write_eof()

    async def _wait_for_chunk(self, queue: asyncio.Queue[tuple[float, bytes]]) -> bytes:
        """Take the next chunk out of `queue`, not before it is due."""
        arrived_at, chunk = await queue.get()
        await asyncio.sleep(arrived_at + self.latency_seconds - _now())
        if self.bytes_per_second is not None:
            await asyncio.sleep(len(chunk) / self.bytes_per_second)
        await self._flowing.wait()
        return chunk

    def _lose(self, direction: Direction, chunk: bytes, connection: Connection) -> None:
        lost = self.lost_answer
        if direction == "to_client" and connection.losing:
            raise ConnectionResetError("answer lost")
        if direction == "to_client" or lost is None or lost.request not in chunk:
            return
        if lost.passing:
            lost.passing -= 1
            return
        self.lost_answer, connection.losing = None, True
        if not lost.delivered:
            raise ConnectionResetError("request lost")

    def _due_cut(self, direction: Direction, passing: int) -> Cut | None:
        cut = self.cut
        if cut is None or cut.direction != direction or passing <= cut.after_bytes or self.cuts_left == 0:
            return None
        if self.cuts_left is not None:
            self.cuts_left -= 1
        return cut


class ThreadedProxy:
    """A `ChaosProxy` in a thread of its own, to be changed from any other one. Made by `running_proxy`."""

    def __init__(self, proxy: ChaosProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.port = proxy.port

    @property
    def connections(self) -> int:
        """How many connections it has taken so far."""
        return self._proxy.connections

    def refuse(self) -> None:
        """See :meth:`ChaosProxy.refuse`."""
        self._do(self._proxy.refuse)

    def accept(self) -> None:
        """See :meth:`ChaosProxy.accept`."""
        asyncio.run_coroutine_threadsafe(self._proxy.accept(), self._loop).result()

    def hold(self) -> None:
        """See :meth:`ChaosProxy.hold`."""
        self._do(self._proxy.hold)

    def release(self) -> None:
        """See :meth:`ChaosProxy.release`."""
        self._do(self._proxy.release)

    def drop(self) -> None:
        """See :meth:`ChaosProxy.drop`."""
        self._do(self._proxy.drop)

    def delay(self, seconds: float) -> None:
        """Set :attr:`ChaosProxy.latency_seconds`."""
        self._proxy.latency_seconds = seconds

    def cut(self, cut: Cut | None, *, times: int | None = None) -> None:
        """Set :attr:`ChaosProxy.cut`, and how many connections it breaks; None for every one."""

        def change() -> None:
            self._proxy.cut = cut
            self._proxy.cuts_left = times

        self._do(change)

    def _do(self, change: Callable[[], T]) -> T:
        """Run `change` on the proxy's loop and wait for it: what follows meets its effect."""

        async def run() -> T:
            return change()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()


@contextmanager
def running_proxy(host: str, port: int) -> Iterator[ThreadedProxy]:
    """Pass connections on to a server, in a thread of its own."""
    started: Future[ThreadedProxy] = Future()
    over: Future[Callable[[], object]] = Future()

    async def serve() -> None:
        async with ChaosProxy(host, port) as proxy:
            loop, end = asyncio.get_running_loop(), asyncio.Event()
            over.set_result(lambda: loop.call_soon_threadsafe(end.set))
            started.set_result(ThreadedProxy(proxy, loop))
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = Thread(target=run, name="chaos proxy", daemon=True)
    thread.start()
    proxy = started.result()
    try:
        yield proxy
    finally:
        over.result()()
        thread.join()


def _now() -> float:
    return asyncio.get_running_loop().time()
