"""An HTTP client of a few lines that hides nothing: what was sent is what it returns."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass, field

from tests.servers.processes import HOST

__all__ = ("Answer", "exchange", "request_bytes")

TIMEOUT_SECONDS = 20
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Everything that came over one connection, up to its end."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    names: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Value of Content-Length."""
        return int(self.headers["content-length"])


def request_bytes(method: str, target: str, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """Return a request after which the server closes the connection."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def exchange(port: int, method: str, target: str, *headers: tuple[str, str]) -> Answer:
    """Send a request on a connection of its own, and read to its end."""
    with closing(socket.create_connection((HOST, port), timeout=TIMEOUT_SECONDS)) as connection:
        connection.sendall(request_bytes(method, target, headers))
        return parse(_all_of(connection))


def _all_of(connection: socket.socket) -> bytes:
    received: list[bytes] = []
    while True:
        try:
            piece = connection.recv(_BUFFER_BYTES)
        except ConnectionResetError:
            return b"".join(received)
        if not piece:
            return b"".join(received)
        received.append(piece)


def parse(received: bytes) -> Answer:
    """Split what came into its parts. Nothing is repaired."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    headers = {name.lower(): value.strip() for name, value in pairs}
    return Answer(int(first.split(" ")[1]), headers, body, tuple(name.lower() for name, _ in pairs))
