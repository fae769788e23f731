"""Does a case with a contender: checks first that the right bytes come back, then measures rounds."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from benchmarks.cases import GIGABYTE, Case
from benchmarks.client import Connection, Request, form, load
from benchmarks.figures import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.client import Answer
    from benchmarks.contenders import Contender
    from benchmarks.servers import Server

__all__ = ("Content", "Work", "WrongAnswerError")

_BLOCK = os.urandom(1024 * 1024)
_CHECKED_BYTES = 10 * 1024 * 1024 + 17
_ROWS = 1000
_RANGE_START, _RANGE_BYTES = 12_345, 1024 * 1024
_WARM_UP_REQUESTS = 30
_STATUSES = {"upload": 201, "download": 200, "range": 206, "304": 304, "documents": 200}
_READY_STATUSES = {200, 201, 204}


class WrongAnswerError(Exception):
    """A contender gave back something else than it was given; the message names both."""


class Content:
    """So many bytes, that need no memory of their own: one random block, again and again."""

    def __init__(self, size: int, start: int = 0) -> None:
        self.size = size
        self._start = start
        self._seen = 0

    def pieces(self) -> Sequence[bytes]:
        """Return the bytes."""
        full, rest = divmod(self.size, len(_BLOCK))
        return [_BLOCK] * full + ([_BLOCK[:rest]] if rest else [])

    def compare(self, piece: memoryview) -> None:
        """Take the next bytes that came back.

        Raises:
            WrongAnswerError: If they are not those that were sent.
        """
        while piece:
            start = (self._start + self._seen) % len(_BLOCK)
            part = piece[: len(_BLOCK) - start]
            if part != _BLOCK[start : start + len(part)]:
                raise WrongAnswerError(f"other bytes came back, somewhere from byte {self._seen:,} on")
            self._seen += len(part)
            piece = piece[len(part) :]

    def finish(self) -> None:
        """Say that nothing more comes back.

        Raises:
            WrongAnswerError: If too little or too much did.
        """
        if self._seen != self.size:
            raise WrongAnswerError(f"{self._seen:,} bytes came back, {self.size:,} were stored")


class Work:
    """One case, ready to be done by one contender."""

    def __init__(self, case: Case, contender: Contender, server: Server) -> None:
        """Store something, read it again and compare.

        Raises:
            WrongAnswerError: If it is not the same.
        """
        self.case = case
        self._contender = contender
        self._server = server
        self._headers: tuple[str, ...] = ()
        self._kept = server.large_files()
        with Connection(server.port) as connection:
            self._path = self._prepare(connection)
        if case.action != "upload":
            self._kept = server.large_files()
        self._warm_up()

    def _prepare(self, connection: Connection) -> str:
        """Return the path that is read."""
        size = self.case.size or 1024
        if self.case.action == "upload":
            size = min(size, _CHECKED_BYTES)
        name = self._store(connection, size)
        path = self._address(connection, name)
        content = Content(size)
        answer = self._expect(connection.ask(Request("GET", path), content.compare), 200, f"GET {path}")
        content.finish()
        if self.case.action == "documents":
            return self._fill(connection)
        if self.case.action == "range":
            self._check_range(connection, path)
        if self.case.action == "304":
            self._headers = (f"If-None-Match: {answer.headers.get('etag')}",)
            self._expect(connection.ask(Request("GET", path, self._headers)), 304, f"If-None-Match of {path}")
        return path

    def _store(self, connection: Connection, size: int) -> str:
        request = self._upload(size)()
        answer, text = connection.text(request)
        if answer.status not in _READY_STATUSES:
            raise WrongAnswerError(f"{request.method} {request.path} was answered {answer.status}: {text[:200]}")
        self._server.settle()
        return text or request.path.rpartition("/")[2]

    def _address(self, connection: Connection, name: str) -> str:
        contender = self._contender
        if not contender.ask:
            return contender.read.format(id=name)
        answer, text = connection.text(Request("GET", contender.ask.format(id=name)))
        self._expect(answer, 200, contender.ask)
        return text

    def _check_range(self, connection: Connection, path: str) -> None:
        self._headers = (f"Range: bytes={_RANGE_START}-{_RANGE_START + _RANGE_BYTES - 1}",)
        content = Content(_RANGE_BYTES, _RANGE_START)
        self._expect(connection.ask(Request("GET", path, self._headers), content.compare), 206, f"range of {path}")
        content.finish()

    def _fill(self, connection: Connection) -> str:
        """Make a thousand rows of the one, and return the path of their list."""
        copy = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) "
            "INSERT INTO document (file) SELECT file FROM document, n WHERE id = (SELECT max(id) FROM document)"
        )
        with closing(sqlite3.connect(self._server.folder / "rows.sqlite")) as database, database:
            database.execute("DELETE FROM document WHERE id < (SELECT max(id) FROM document)")
            database.execute(copy)
        answer, text = connection.text(Request("GET", "/documents"))
        self._expect(answer, 200, "/documents")
        if len(found := msgspec.json.decode(text)) != _ROWS or not found[0]["file"]:
            raise WrongAnswerError(f"{len(found)} rows of {_ROWS} came back")
        return "/documents"

    def _expect(self, answer: Answer, status: int, what: str) -> Answer:
        if answer.status != status:
            raise WrongAnswerError(f"{what} was answered {answer.status} instead of {status}")
        return answer

    def _upload(self, size: int) -> Callable[[], Request]:
        pieces = Content(size).pieces()
        if self._contender.upload == "put":
            return lambda: Request("PUT", f"/files/{uuid.uuid4().hex}", (), pieces)
        headers: tuple[str, ...] = ("Content-Type: application/octet-stream",)
        if self._contender.upload == "form":
            headers, pieces = form(pieces)
        request = Request("POST", "/files", headers, pieces)
        return lambda: request

    def _make(self) -> Callable[[], Request]:
        if self.case.action == "upload":
            return self._upload(self.case.size)
        request = Request("GET", self._path, self._headers)
        return lambda: request

    def _warm_up(self) -> None:
        """Let libraries, threads and connections come into being; they belong to no request."""
        if self.case.size < GIGABYTE // 4:
            count = min(_WARM_UP_REQUESTS, self.case.requests)
            self._load(max(count, self.case.connections))
            self._clean()

    def _load(self, requests: int) -> Sample:
        server, case = self._server, self.case
        server.settle()
        server.forget_peak()
        resident, before = server.memory_bytes("VmRSS"), server.usage()
        done = load(
            server.port,
            self._make(),
            _STATUSES[case.action],
            connections=case.connections,
            requests=requests,
            max_seconds=case.seconds,
        )
        server.settle()
        after, peak = server.usage(), max(resident, server.memory_bytes("VmHWM"))
        return Sample(
            len(done.latencies) + len(done.failures),
            _RANGE_BYTES if case.action == "range" else case.size,
            done.seconds,
            after.cpu_seconds - before.cpu_seconds,
            after.written_bytes - before.written_bytes,
            peak - resident,
            peak,
            tuple(done.latencies),
            len(done.failures),
        )

    def _clean(self) -> None:
        """Give the disk back what uploads took."""
        if self.case.size >= len(_BLOCK):
            for path in self._server.large_files() - self._kept:
                path.unlink(missing_ok=True)

    def measure(self) -> Sample:
        """Do one round."""
        sample = self._load(self.case.requests)
        self._clean()
        return sample

    def close(self) -> None:
        """Remove what was stored to be read."""
        self._kept = set()
        self._clean()
