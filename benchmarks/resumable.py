"""What a resumable upload costs beside the typed form of the same file: ``python -m benchmarks.resumable``.

The server is a process of its own: a local disk, a ledger in SQLite, digests, and a row for each file. A form brings
the file and makes the row; or a PATCH brings the file, and a form makes the row with its reference. Both take turns, so
that what else the machine does touches both. Exits with 1 if resumable uploads have less than 0.85 of the forms'
throughput, or if the server's memory grew too far.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from advanced_alchemy.extensions.litestar import EngineConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, post
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.client import BOUNDARY
from benchmarks.servers import Server
from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxSize,
    StoredObject,
    UploadLimits,
    create_upload_router,
)
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, free_port, running

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("create_app", "main")

MIB = 1024 * 1024
_LEAST = 0.85
_BLOCK = os.urandom(MIB)


class Base(DeclarativeBase):
    """Models of this application."""


class Document(Base):
    """A row with one file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents", rules=[MaxSize("64 GB")]))


@dataclass
class Form:
    """A form with one file, or its reference."""

    file: FileObject


@post("/documents")
async def create(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> int:
    """Store a file in a row."""
    document = Document(file=data.file)
    db_session.add(document)
    await db_session.flush()
    return document.id


def create_app() -> Litestar:
    """Return the application, with its rows and files in the folder that the environment names."""
    folder = Path(os.environ["RESUMABLE_FOLDER"])
    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(),
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    config = FilestoreConfig(
        [LocalBackend("documents", folder / "files")],
        secret="sXk2uRr8Nq0vT4yB7dLwZ1mCfHj6PgEa",  # noqa: S106  # of an application that ends with its process
        limits=UploadLimits(max_file_bytes=64 * 1024 * MIB),
    )
    uploads = create_upload_router("/uploads", Document.file, public=True)
    return Litestar([create, uploads], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(config)])


class _Client:
    """Uploads on one connection, and reads the memory of the server."""

    def __init__(self, server: Server, size: int) -> None:
        self._connection = HTTPConnection(HOST, server.port, timeout=600)
        self.server = server
        self._size = size

    def form(self) -> None:
        """Upload in a form."""
        self._post_form('name="file"; filename="a.bin"\r\nContent-Type: application/octet-stream', self._size)

    def resumable(self) -> None:
        """Create an upload, send all of it, and hand in the reference."""
        tus = {"Tus-Resumable": "1.0.0"}
        created = self._ask("POST", "/uploads", {**tus, "Upload-Length": str(self._size)}, b"", 201)
        said = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        said["Content-Length"] = str(self._size)
        sent = self._ask("PATCH", urlsplit(created["location"]).path, said, self._blocks(), 204)
        self._post_form('name="file"', sent["filestore-reference"].encode())

    def growth_bytes(self, work: Any) -> int:
        """Return how far the server's memory grew at most while `work` was done."""
        before = self.server.memory_bytes("VmRSS")
        self.server.forget_peak()
        work()
        return max(0, self.server.memory_bytes("VmHWM") - before)

    def _post_form(self, headers: str, content: bytes | int) -> None:
        opening = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {headers}\r\n\r\n".encode()
        closing = f"\r\n--{BOUNDARY}--\r\n".encode()
        length = content if isinstance(content, int) else len(content)
        said = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        said["Content-Length"] = str(len(opening) + length + len(closing))
        blocks = self._blocks() if isinstance(content, int) else iter([content])
        self._ask("POST", "/documents", said, _around(opening, blocks, closing), 201)

    def _blocks(self) -> Iterator[bytes]:
        return (_BLOCK[: min(MIB, self._size - start)] for start in range(0, self._size, MIB))

    def _ask(self, method: str, path: str, headers: dict[str, str], body: Any, status: int) -> dict[str, str]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != status:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {text!r}")
        return {name.lower(): value for name, value in answer.getheaders()}


def _around(opening: bytes, blocks: Iterator[bytes], closing: bytes) -> Iterator[bytes]:
    yield opening
    yield from blocks
    yield closing


@contextmanager
def _served(size: int) -> Iterator[_Client]:
    """Serve, and take one upload of each kind: libraries and threads belong to none."""
    with TemporaryDirectory(prefix="filestore-bench-") as name:
        folder, port = Path(name), free_port()
        command = [sys.executable, "-P", "-m", "uvicorn", "benchmarks.resumable:create_app", "--factory"]
        surroundings = Surroundings(environment={**TESTS_IMPORTABLE, "RESUMABLE_FOLDER": name})
        options = ["--host", HOST, "--port", str(port), "--log-level", "warning"]
        with running("uvicorn", [*command, *options], folder, surroundings) as process:
            process.wait_for_port(port)
            server = Server(port, folder)
            warm = _Client(server, 9 * MIB)
            warm.form()
            warm.resumable()
            yield _Client(server, size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resumable", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (1024)")
    parser.add_argument("--rounds", type=int, default=3, help="uploads of each kind (3)")
    parser.add_argument("--limit-mib", type=int, default=24, help="growth that is too much (24)")
    options = parser.parse_args(arguments)
    seconds: dict[str, list[float]] = {"form": [], "resumable": []}
    growth, cpu = dict.fromkeys(seconds, 0), dict.fromkeys(seconds, 0.0)
    with _served(options.mib * MIB) as client:
        for _ in range(options.rounds):
            for name, taken in seconds.items():
                start, computed = time.perf_counter(), client.server.usage().cpu_seconds
                growth[name] = max(growth[name], client.growth_bytes(getattr(client, name)))
                taken.append(time.perf_counter() - start)
                cpu[name] += (client.server.usage().cpu_seconds - computed) / options.rounds
    speeds = {name: options.mib / median(taken) for name, taken in seconds.items()}
    for name, speed in speeds.items():
        sys.stdout.write(
            f"{name:<12}{speed:>8.0f} MiB/s{cpu[name]:>8.1f} s of CPU{growth[name] / MIB:>8.1f} MiB growth\n"
        )
    ratio = speeds["resumable"] / speeds["form"]
    sys.stdout.write(f"resumable to form: {ratio:.2f}, at least {_LEAST}\n")
    return int(ratio < _LEAST or max(growth.values()) > options.limit_mib * MIB)


if __name__ == "__main__":
    sys.exit(main())
