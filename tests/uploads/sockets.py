"""A client that says to a server whatever a test wants, on a bare socket."""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers.processes import HOST, TESTS_IMPORTABLE, RunningProcess, Surroundings, free_port, running
from tests.uploads.multipart_bodies import CONTENT_TYPE
from tests.uploads.upload_app import environment

__all__ = ("SERVERS", "Running", "Wire", "head_of", "serving")

APP = "tests.uploads.upload_app:create_app_from_environment"
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: ["-m", "uvicorn", APP, "--factory", "--host", HOST, "--port", str(port)],
    "granian": lambda port: [
        "-m",
        "granian",
        APP,
        "--factory",
        "--interface",
        "asgi",
        "--host",
        HOST,
        "--port",
        str(port),
    ],
}
"""Arguments of Python that serve the application, by the name of the server."""
SECONDS = 30.0


@dataclass(frozen=True)
class Running:
    """A running server."""

    port: int
    files: Path
    process: RunningProcess

    def state(self) -> dict[str, Any]:
        """Ask the application what it holds; that it answers is worth something as well."""
        response = httpx.get(f"http://{HOST}:{self.port}/state", timeout=SECONDS, trust_env=False)
        state: dict[str, Any] = response.raise_for_status().json()
        return state

    def wait_until_idle(self) -> None:
        """Return when nothing is left of any request: no object, no temporary file, no upload, no memory."""
        self.process.wait_until(self._is_idle)

    def _is_idle(self) -> bool:
        state = self.state()
        left = [each for each in self.files.rglob("*") if each.is_file()]
        held = (state["uploads"], state["held"], state["part_uploads"])
        return (state["objects"], held, left, self.unfinished()) == ([], (0, 0, 0), [], [])

    def unfinished(self) -> list[int]:
        """Return the lengths of the objects that are being written: files that the process has open, without names."""
        sizes: list[int] = []
        for each in Path(f"/proc/{self.state()['pid']}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if str(each.readlink()).startswith(f"{self.files}/"):
                    sizes.append(each.stat().st_size)
        return sizes

    def memory_bytes(self, name: str) -> int:
        """Return ``VmRSS`` (resident now) or ``VmHWM`` (its peak since `forget_peak`) of the process that answers."""
        for line in Path(f"/proc/{self.state()['pid']}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(name)

    def forget_peak(self) -> None:
        """Begin a new peak (proc_pid_clear_refs(5))."""
        Path(f"/proc/{self.state()['pid']}/clear_refs").write_text("5", encoding="ascii")

    @contextmanager
    def connect(self) -> Iterator[Wire]:
        """Open a connection."""
        with socket.create_connection((HOST, self.port), timeout=SECONDS) as connection:
            yield Wire(connection)

    def ask(self, *pieces: bytes) -> int:
        """Send a request on a connection of its own and return the status."""
        with self.connect() as wire:
            return wire.send_until_answered(pieces)


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sent = 0
        """Bytes that `send_until_answered` has sent."""

    def send_until_answered(self, pieces: Iterable[bytes]) -> int:
        """Send as long as there is no answer, then read it; return its status."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                readable, _, _ = select.select([self.socket], [self.socket], [], SECONDS)
                if readable:
                    return self.status()
                count = self.socket.send(view[: 256 * 1024])
                self.sent += count
                view = view[count:]
        return self.status()

    def status(self) -> int:
        """Read the status line."""
        start = b""
        while b"\r\n" not in start:
            data = self.socket.recv(4096)
            if not data:
                return 0
            start += data
        return int(start.split(b" ", 2)[1])

    def finish(self) -> None:
        """Say that nothing more will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave as one does whose machine crashed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def head_of(
    *headers: str,
    path: str = "/form",
    method: str = "POST",
    length: int | None = None,
    content_type: str = CONTENT_TYPE,
) -> bytes:
    """Write the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Content-Type: {content_type}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@contextmanager
def serving(server: str, folder: Path, bucket: Any = None, **limits: Any) -> Iterator[Running]:
    """Serve the application of `tests.uploads.upload_app` with these limits, on a local folder or an object store."""
    port, files = free_port(), folder / "files"
    surroundings = Surroundings(environment={**TESTS_IMPORTABLE, **environment(files, bucket, **limits)})
    with running(server, [sys.executable, "-P", *SERVERS[server](port)], folder, surroundings) as process:
        process.wait_for_port(port)
        yield Running(port, files, process)
