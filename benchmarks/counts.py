"""What one small request costs, in counts that no other load of the machine touches: ``python -m benchmarks.counts``.

The application runs in this process, and requests are handed to it as a server hands them over: no client and no socket
are counted. Counted are calls of Python functions in all threads, turns of the event loop, jobs that other threads hand
back to it, SQL statements, and committed transactions. Each request is measured several times; the median counts.
With ``--contenders`` the other contenders that can run in this process are counted as well, with ``--load`` an upload
beside 31 others. Exits with 1 if a count is above its ceiling.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import itertools
import json
import sys
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import (
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyPlugin,
)
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath, MultipartBody
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import Pool

from benchmarks.contenders import ALCHEMY, CONTENDERS, is_installed
from benchmarks.report import other_table
from litestar_filestore import (
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    StoredObject,
    create_upload_router,
    storages,
)
from litestar_filestore.ledger import LedgerConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from contextvars import Context

    from litestar.types import ASGIApp, Receive, Scope, Send

    from benchmarks.contenders import Contender

__all__ = ("BASES", "CEILINGS", "ROWS", "Counts", "excesses", "main", "measure", "measure_load", "measure_others")

_Found = TypeVar("_Found")
_OTHERS = ("Litestar, row", *ALCHEMY, "FastAPI, sqlalchemy-file", "FastAPI, fastapi-storages")

ROWS = 100
"""Of a list."""
_TIMES = 15
_WARM_UP = 5
_AT_A_TIME = 32
_LATE_SECONDS = 1.0
_SECRET = "sXk2uRr8Nq0vT4yB7dLwZ1mCfHj6PgEa"  # noqa: S105  # of an application that ends with this process
_KIBIBYTE = bytes(1024)


class Counts(NamedTuple):
    """The price of one request."""

    python_calls: int
    """Calls of functions written in Python, in all threads."""
    loop_turns: int
    """How often the event loop looked for what to do."""
    thread_hops: int
    """How often another thread handed something back to the event loop."""
    statements: int
    """SQL statements."""
    transactions: int
    """COMMITs."""


CEILINGS = {
    "upload 1 KiB": Counts(1880, 26, 9, 3, 2),
    "resumable upload 1 KiB": Counts(5200, 100, 42, 8, 5),
    "upload 1 KiB without a ledger": Counts(1715, 20, 7, 1, 1),
    "download 1 KiB by row": Counts(1020, 16, 7, 1, 0),
    "range by row": Counts(1032, 16, 7, 1, 0),
    "304 by row": Counts(961, 16, 7, 1, 0),
    "download 1 KiB by link": Counts(172, 1, 0, 0, 0),
    "range by link": Counts(183, 1, 0, 0, 0),
    "304 by link": Counts(152, 1, 0, 0, 0),
    "download 1 KiB by key": Counts(214, 1, 0, 0, 0),
    "range by key": Counts(225, 1, 0, 0, 0),
    "100 rows with links": Counts(4200, 16, 7, 1, 0),
    "100 rows with new links": Counts(4900, 16, 7, 1, 0),
}
"""Just above what was reached: a request that costs more has become slower.

Files in the page cache are sent without a thread where the file system says what is cached; ext4, XFS and Btrfs do.
"""
BASES = {"look-up of a row", "100 rows of plain JSON"}
"""Requests without a file, with which others are compared. They have no ceiling."""


class Base(DeclarativeBase):
    """Models of this application."""


class Document(Base):
    """A row with one file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("counts"))


class Paper(Base):
    """A row of a list, with a file."""

    __tablename__ = "paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("counts"))


class PlainPaper(Base):
    """A row of a list, with the same as plain JSON."""

    __tablename__ = "plain_paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[dict[str, Any]] = mapped_column(sa.JSON)


class PlainBase(DeclarativeBase):
    """Models without a ledger."""

    metadata = sa.MetaData(info={"litestar_filestore.ledger": False})


class PlainDocument(PlainBase):
    """A row with one file, and nothing that would find the file again if the process died."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("counts"))


@dataclass
class Form:
    """A form with one file."""

    file: FileObject


@post("/documents")
async def create(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    """Store a file in a row."""
    document = Document(file=data.file)
    db_session.add(document)
    await db_session.flush()
    return document.id


@post("/plain")
async def create_plain(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    """Store a file in a row without a ledger."""
    document = PlainDocument(file=data.file)
    db_session.add(document)
    await db_session.flush()
    return document.id


@get("/documents/{number:int}")
async def read(number: int, db_session: NamedDependency[AsyncSession]) -> FileDownload:
    """Send the file of a row."""
    return FileDownload((await db_session.get_one(Document, number)).file)


@get("/look-ups/{number:int}")
async def look_up(number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> bytes:
    """Look for the same row, and send something else: what a download by row is compared with."""
    await db_session.get_one(Document, number)
    return _KIBIBYTE


@get("/objects/{key:path}")
async def read_object(key: FromPath[str]) -> FileDownload:
    """Send an object that no row knows."""
    return FileDownload.of("counts", key.removeprefix("/"))


@get("/keys/{number:int}")
async def key_of(number: FromPath[int], db_session: NamedDependency[AsyncSession]) -> str:
    """Return the key of the file of a row."""
    return (await db_session.get_one(Document, number)).file.path


@get("/lists/files", return_dto=SQLAlchemyDTO[Paper])
async def list_files(db_session: NamedDependency[AsyncSession]) -> list[Paper]:
    """Return rows with links to their files."""
    return list(await db_session.scalars(sa.select(Paper)))


@get("/lists/values", return_dto=SQLAlchemyDTO[PlainPaper])
async def list_values(db_session: NamedDependency[AsyncSession]) -> list[PlainPaper]:
    """Return the same as plain JSON: what the list of files is compared with."""
    return list(await db_session.scalars(sa.select(PlainPaper)))


async def _fill(session: AsyncSession) -> None:
    """Make the rows of the lists. Nothing reads their files."""
    papers: Any = Paper.__table__
    plain: Any = PlainPaper.__table__
    for number in range(ROWS):
        file = FileObject("counts", f"{number}.txt", f"papers/{number}", "text/plain", 1024, 1e9, None, f'"{number}"')
        await session.execute(sa.insert(papers).values(file=file))
        await session.execute(sa.insert(plain).values(file=file.to_dict()))
    await session.commit()


@get("/links/{number:int}", status_code=200)
async def link(number: int, db_session: NamedDependency[AsyncSession]) -> str:
    """Return the link of the file of a row."""
    url = storages.url_for((await db_session.get_one(Document, number)).file)
    return url or ""


class _Slowness(ASGIMiddleware):
    """Calls a function three hundred times: a change that nobody should overlook."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Waste calls, then answer."""
        for _ in range(300):
            _nothing()
        await next_app(scope, receive, send)


def _nothing() -> None:
    pass


def create_app(folder: Path, *, has_ledger: bool, is_slow: bool = False) -> Litestar:
    """Return the application, with its rows and files in `folder`."""
    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(),
        metadata=(Base if has_ledger else PlainBase).metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    config = FilestoreConfig(
        [LocalBackend("counts", folder / "files", fsync=False, digest=None)],
        secret=_SECRET,
        ledger=LedgerConfig(run_sweeper=False),
    )
    middleware = [_Slowness()] if is_slow else []
    plugins = [SQLAlchemyPlugin(database), FilestorePlugin(config)]
    handlers: list[Any] = [create, create_plain, read, look_up, read_object, key_of, list_files, list_values, link]
    if has_ledger:
        handlers.append(create_upload_router("/uploads", Document.file, public=True))
    app = Litestar(handlers, plugins=plugins, middleware=middleware)
    app.state.signer = config.signer
    app.state.session = database.create_session_maker()
    return app


class _Counter:
    """Counts while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.calls = self.turns = self.hops = self.statements = self.transactions = 0

    def start(self) -> None:
        """Begin at zero."""
        self.calls = self.turns = self.hops = self.statements = self.transactions = 0
        self.is_on = True

    def go_on(self) -> None:
        """Go on after `stop`."""
        self.is_on = True

    def stop(self) -> Counts:
        """Return what was counted."""
        self.is_on = False
        return Counts(self.calls, self.turns, self.hops, self.statements, self.transactions)

    def profile(self, _frame: object, event: str, _argument: object) -> None:
        """Be a function for `sys.setprofile`."""
        if event == "call" and self.is_on:
            self.calls += 1

    def connected(self, connection: Any, _record: object) -> None:
        """Listen to ``connect`` of pools: SQLite tells what it executes, on whatever way that came."""
        is_open = False

        def trace(sql: str) -> None:
            nonlocal is_open
            self.calls -= self.is_on  # this call
            verb = sql.split(None, 1)[0].rstrip(";").upper()
            if verb in {"BEGIN", "COMMIT", "ROLLBACK"}:
                is_open = verb == "BEGIN"
            self.statements += self.is_on and verb not in {"BEGIN", "COMMIT", "ROLLBACK"}
            commits = verb == "COMMIT" or (not is_open and verb in {"INSERT", "UPDATE", "DELETE"})
            self.transactions += self.is_on and commits

        if hasattr(connection, "run_async"):
            connection.run_async(lambda driver: driver.set_trace_callback(trace))
        else:
            connection.set_trace_callback(trace)


class _CountedLoop(asyncio.SelectorEventLoop):
    """An event loop that says what it does."""

    def __init__(self, counter: _Counter) -> None:
        super().__init__()
        self._counter = counter

    def _run_once(self) -> None:
        self._counter.turns += self._counter.is_on
        # The step that run_forever() repeats. A cast would be one more call in each turn.
        super()._run_once()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

    def call_soon_threadsafe(  # type: ignore[override]  # its arguments are only handed on
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Count, and do what every loop does."""
        self._counter.hops += self._counter.is_on
        return super().call_soon_threadsafe(callback, *args, context=context)


class _Request(NamedTuple):
    method: str
    path: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class _Exchange:
    """One request as a server tells it to an application, and what it is answered."""

    def __init__(self, request: _Request) -> None:
        path, _, query = request.path.partition("?")
        self.scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"counts"), (b"content-length", b"%d" % len(request.body)), *request.headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
            "state": {},
        }
        self._request = request
        self._incoming = iter([{"type": "http.request", "body": request.body, "more_body": False}])
        self._sent: list[Any] = []

    async def receive(self) -> Any:
        """Return the request, and then nothing any more."""
        for message in self._incoming:
            return message
        return await asyncio.get_running_loop().create_future()  # the client stays

    async def send(self, message: Any) -> None:
        """Take what the application says."""
        self._sent.append(message)

    def is_right(self) -> bool:
        """Whether the status is the expected one."""
        return bool(self._sent[0]["status"] == self._request.status)

    def answer(self) -> tuple[dict[str, str], bytes]:
        """Return headers and body.

        Raises:
            RuntimeError: If the status is another one than expected.
        """
        start, *body = self._sent
        if not self.is_right():
            raise RuntimeError(f"{self._request[:2]} was answered {start['status']}: {body!r}")
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return headers, b"".join(message.get("body", b"") for message in body)


class _Client:
    """Hands requests to an application as a server does, and counts what each costs."""

    def __init__(self, app: Any, counter: _Counter) -> None:
        self._app = app
        self._counter = counter

    async def send(self, request: _Request) -> tuple[Counts, dict[str, str], bytes]:
        """Return the price, the headers and the body of an answer.

        Raises:
            RuntimeError: If the status is another one than expected.
        """
        exchange, others = _Exchange(request), asyncio.all_tasks()
        self._counter.start()
        await self._app(exchange.scope, exchange.receive, exchange.send)
        counts = self._counter.stop()
        if late := asyncio.all_tasks() - others:  # some save their file after they have answered
            self._counter.go_on()
            await asyncio.wait(late, timeout=_LATE_SECONDS)
            counts = self._counter.stop()
        return counts, *exchange.answer()

    async def load(self, request: _Request) -> dict[str, float]:
        """Return what a request costs on average while there are as many as a busy process has."""
        await self._crowd(request)
        self._counter.start()
        failures = sum([await self._crowd(request) for _ in range(_TIMES)])
        counts = self._counter.stop()
        found: dict[str, float] = {name: count / _TIMES / _AT_A_TIME for name, count in counts._asdict().items()}
        return found | {"failures": failures}

    async def _crowd(self, request: _Request) -> int:
        """Return how many had another status than expected."""
        exchanges = [_Exchange(request) for _ in range(_AT_A_TIME)]
        await asyncio.gather(*(self._app(each.scope, each.receive, each.send) for each in exchanges))
        return sum(not each.is_right() for each in exchanges)

    async def price(self, request: _Request) -> Counts:
        """Return the median price of a request."""
        return _median([(await self.send(request))[0] for _ in range(_WARM_UP + _TIMES)])

    async def price_resumable(self) -> Counts:
        """Return the median price of a resumable upload: its creation, its bytes, and the form with its reference."""
        return _median([await self._send_resumable() for _ in range(_WARM_UP + _TIMES)])

    async def _send_resumable(self) -> Counts:
        tus = (b"tus-resumable", b"1.0.0")
        told = (tus, (b"upload-length", b"1024"), (b"upload-metadata", b"filename YS50eHQ="))
        created, headers, _ = await self.send(_Request("POST", "/uploads", 201, told))
        octets = (tus, (b"upload-offset", b"0"), (b"content-type", b"application/offset+octet-stream"))
        url = headers["location"].removeprefix("http://counts")
        sent, headers, _ = await self.send(_Request("PATCH", url, 204, octets, _KIBIBYTE))
        reference = headers["filestore-reference"].encode()
        taken, _, _ = await self.send(_form("/documents", b'name="file"', reference))
        return Counts(*map(sum, zip(created, sent, taken, strict=True)))


def _median(prices: list[Counts]) -> Counts:
    return Counts(*(median_low(each) for each in zip(*prices[_WARM_UP:], strict=True)))


def _upload(path: str) -> _Request:
    headers = b'name="file"; filename="a.txt"\r\nContent-Type: application/octet-stream'
    return _form(path, headers, _KIBIBYTE)


def _form(path: str, headers: bytes, content: bytes) -> _Request:
    parts = b"--counts\r\nContent-Disposition: form-data; " + headers + b"\r\n\r\n" + content + b"\r\n--counts--\r\n"
    return _Request("POST", path, 201, ((b"content-type", b"multipart/form-data; boundary=counts"),), parts)


async def _measure(app: Litestar, counter: _Counter) -> dict[str, Counts]:
    client = _Client(app, counter)
    half = ((b"range", b"bytes=0-511"),)
    async with app.lifespan():
        async with app.state.session() as session:
            await _fill(session)
        found = {"upload 1 KiB": await client.price(_upload("/documents"))}
        found["resumable upload 1 KiB"] = await client.price_resumable()
        _, headers, _ = await client.send(_Request("GET", "/documents/1", 200))
        known = ((b"if-none-match", headers["etag"].encode()),)
        found["look-up of a row"] = await client.price(_Request("GET", "/look-ups/1", 200))
        _, _, url = await client.send(_Request("GET", "/links/1", 200))
        _, _, key = await client.send(_Request("GET", "/keys/1", 200))
        for name, path in (
            ("row", "/documents/1"),
            ("link", url.decode().removeprefix("http://counts")),
            ("key", f"/objects/{key.decode()}"),
        ):
            found[f"download 1 KiB by {name}"] = await client.price(_Request("GET", path, 200))
            found[f"range by {name}"] = await client.price(_Request("GET", path, 206, half))
            if name != "key":  # the store's own tag, and the store has to be asked for it
                found[f"304 by {name}"] = await client.price(_Request("GET", path, 304, known))
        found[f"{ROWS} rows with links"] = await client.price(_Request("GET", "/lists/files", 200))
        found[f"{ROWS} rows of plain JSON"] = await client.price(_Request("GET", "/lists/values", 200))
    return found


async def _measure_new_links(app: Litestar, counter: _Counter) -> dict[str, Counts]:
    # An hour passes before each link: none is remembered, all are signed.
    app.state.signer.clock = itertools.count(2 * 10**9, 3600).__next__
    async with app.lifespan():
        async with app.state.session() as session:
            await _fill(session)
        request = _Request("GET", "/lists/files", 200)
        return {f"{ROWS} rows with new links": await _Client(app, counter).price(request)}


async def _measure_plain(app: Litestar, counter: _Counter) -> dict[str, Counts]:
    async with app.lifespan():
        return {"upload 1 KiB without a ledger": await _Client(app, counter).price(_upload("/plain"))}


async def _measure_load(app: Litestar, counter: _Counter) -> dict[str, float]:
    async with app.lifespan():
        return await _Client(app, counter).load(_upload("/documents"))


async def _measure_other(app: Any, counter: _Counter) -> Counts:
    async with _running(app):
        return await _Client(app, counter).price(_upload("/files"))


@asynccontextmanager
async def _running(app: Any) -> AsyncIterator[None]:
    """Start and stop any ASGI application."""
    incoming, started, sent = asyncio.Queue[Any](), asyncio.Event(), list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)
        started.set()

    running = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, incoming.get, send)
    )
    incoming.put_nowait({"type": "lifespan.startup"})
    await started.wait()
    if sent[0]["type"] != "lifespan.startup.complete":
        raise RuntimeError(sent[0])
    yield
    incoming.put_nowait({"type": "lifespan.shutdown"})
    await running


def _run(counter: _Counter, work: Callable[[Path], Coroutine[Any, Any, _Found]]) -> _Found:
    """Do `work` in an empty folder, with everything counted that the counter is on for."""
    event.listen(Pool, "connect", counter.connected)
    threading.setprofile(counter.profile)
    sys.setprofile(counter.profile)
    try:
        with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=lambda: _CountedLoop(counter)) as runner:
            return runner.run(work(Path(folder)))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        event.remove(Pool, "connect", counter.connected)


def measure(*, is_slow: bool = False) -> dict[str, Counts]:
    """Return the price of each request. Threads that are there already are not counted.

    Args:
        is_slow: Whether the application wastes three hundred calls for each request.
    """
    counter = _Counter()
    with_ledger, plain = (partial(create_app, has_ledger=each, is_slow=is_slow) for each in (True, False))
    found = _run(counter, lambda folder: _measure(with_ledger(folder), counter))
    found |= _run(counter, lambda folder: _measure_new_links(with_ledger(folder), counter))
    return found | _run(counter, lambda folder: _measure_plain(plain(folder), counter))


def measure_load() -> dict[str, float]:
    """Return what an upload costs on average while there are 32 at a time; it differs a little from run to run."""
    counter = _Counter()
    return _run(counter, lambda folder: _measure_load(create_app(folder, has_ledger=True), counter))


def measure_others() -> dict[str, Counts]:
    """Return what the same upload costs the other contenders that can run here and are installed."""
    installed = [name for name in _OTHERS if is_installed(CONTENDERS[name])]
    return {f"upload 1 KiB, {name}": _measure_contender(CONTENDERS[name]) for name in installed}


def _measure_contender(contender: Contender) -> Counts:
    module, counter = importlib.import_module(f"benchmarks.contenders.{contender.module}"), _Counter()
    return _run(counter, lambda folder: _measure_other(module.create_app(folder, **contender.variant), counter))


def excesses(found: dict[str, Counts]) -> list[str]:
    """Return a sentence for each count that is above its ceiling."""
    return [
        f"{request}: {count} {name.replace('_', ' ')}, at most {ceiling}"
        for request, counts in found.items()
        if request in CEILINGS
        for name, count, ceiling in zip(Counts._fields, counts, CEILINGS[request], strict=True)
        if count > ceiling
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, or JSON, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--slow", action="store_true", help="waste three hundred calls for each request")
    parser.add_argument("--contenders", action="store_true", help="count the same upload of other contenders")
    parser.add_argument("--load", action="store_true", help="count an upload beside 31 others")
    options = parser.parse_args(arguments)
    ours = measure(is_slow=options.slow)
    found: dict[str, dict[str, float]] = {request: dict(counts._asdict()) for request, counts in ours.items()}
    if options.load:
        found["upload 1 KiB, 32 at a time"] = measure_load()
    if options.contenders:
        found |= {request: dict(counts._asdict()) for request, counts in measure_others().items()}
    sys.stdout.write(f"{json.dumps(found)}\n" if options.json else other_table("request", found))
    too_much = excesses(ours)
    for each in too_much:
        sys.stderr.write(f"{each}\n")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
