"""A client that costs little: blocking sockets that stay open, one thread for each connection."""

from __future__ import annotations

import socket
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ("BOUNDARY", "Answer", "Connection", "Load", "Request", "form", "load")

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW2"
"""As browsers make them: how long it is matters to those that search for it."""

_SECONDS = 300.0
_BUFFER_BYTES = 1024 * 1024
_JOINED_BYTES = 128 * 1024


class Request(NamedTuple):
    """What is sent."""

    method: str
    path: str
    headers: tuple[str, ...] = ()
    pieces: Sequence[bytes] = ()
    """The body, in pieces."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    """With names in small letters."""
    length: int
    """Bytes of the body."""


class Load(NamedTuple):
    """The outcome of many requests."""

    seconds: float
    """From the first one to the last answer."""
    latencies: list[float]
    """Seconds of each request that was answered as expected."""
    failures: list[int]
    """The other statuses; 0 is a connection that was closed."""


def form(pieces: Sequence[bytes]) -> tuple[tuple[str, ...], Sequence[bytes]]:
    """Return headers and body of a form with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    headers = (f"Content-Type: multipart/form-data; boundary={BOUNDARY}",)
    return headers, (head.encode(), *pieces, f"\r\n--{BOUNDARY}--\r\n".encode())


class Connection:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, request: Request, take: Callable[[memoryview], object] | None = None) -> Answer:
        """Send a request and read its answer.

        Args:
            request: What is sent.
            take: Is handed each piece of the body, which is only valid during the call.

        Raises:
            ConnectionError: If the server closes the connection first.
        """
        size = sum(map(len, request.pieces))
        lines = [f"{request.method} {request.path} HTTP/1.1", "Host: 127.0.0.1", *request.headers]
        if size or request.method != "GET":
            lines.append(f"Content-Length: {size}")
        head = "\r\n".join([*lines, "", ""]).encode()
        if size <= _JOINED_BYTES:
            self._socket.sendall(head + b"".join(request.pieces))
        else:
            self._socket.sendall(head)
            for piece in request.pieces:
                self._socket.sendall(piece)
        return self._read(take)

    def _read(self, take: Callable[[memoryview], object] | None) -> Answer:
        status = int(self._line().split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while line := self._line().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = 0
        if headers.get("transfer-encoding") == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                length += self._body(size, take)
                self._line()
            self._line()
        elif status not in {204, 304}:
            length = self._body(int(headers.get("content-length", 0)), take)
        return Answer(status, headers, length)

    def _line(self) -> bytes:
        if line := self._file.readline():
            return line
        raise ConnectionError("the server has closed the connection")

    def _body(self, size: int, take: Callable[[memoryview], object] | None) -> int:
        left = size
        while left:
            view = self._buffer[: min(left, _BUFFER_BYTES)]
            got = self._file.readinto(view)
            if not got:
                raise ConnectionError("the server has closed the connection")
            if take is not None:
                take(view[:got])
            left -= got
        return size

    def text(self, request: Request) -> tuple[Answer, str]:
        """Send a request and read an answer with a short text."""
        taken = bytearray()
        answer = self.ask(request, taken.extend)
        return answer, taken.decode()


def load(
    port: int, make: Callable[[], Request], status: int, *, connections: int, requests: int, max_seconds: float
) -> Load:
    """Send so many requests over so many connections that stay open, or as many as there is time for.

    Args:
        port: Where the server listens.
        make: Makes a request.
        status: What every answer should have.
        connections: How many requests are on their way at a time.
        requests: How many there are in all.
        max_seconds: No request starts later than this; each connection sends at least one.
    """
    numbers, latencies, failures = count(), list[float](), list[int]()

    def work() -> None:
        connection, start = Connection(port), begin
        while next(numbers) < requests and start < begin + max_seconds:
            request, start = make(), time.perf_counter()
            try:
                got = connection.ask(request).status
            except OSError:
                got, connection = 0, Connection(port)
            if got == status:
                latencies.append(time.perf_counter() - start)
            else:
                failures.append(got)
        connection.__exit__()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(time.perf_counter() - begin, latencies, failures)
