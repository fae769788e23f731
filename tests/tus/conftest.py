"""Running applications that take resumable uploads."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore import LocalBackend, StorageBackend, storages
from litestar_filestore.ledger import ledger_of, sweep
from tests.ledger.places import async_url
from tests.tus.tus_app import PATH, Base, make_app

__all__ = ("OFFSET_TYPE", "Serve", "Site", "metadata")

OFFSET_TYPE = "application/offset+octet-stream"


def metadata(**values: str) -> str:
    """Return ``Upload-Metadata``."""
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in values.items())


@dataclass
class Site:
    """A running application, seen by a client and by its operator."""

    client: TestClient[Litestar]
    backend: StorageBackend
    engine: sa.Engine
    headers: dict[str, str] = field(default_factory=lambda: {"Tus-Resumable": "1.0.0"})

    def ask(self, method: str, url: str = PATH, content: Any = None, **headers: str) -> httpx.Response:
        """Send a request; underscores in names of headers stand for hyphens."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, url, content=content, headers={**self.headers, **said})

    def create(self, length: int | None = None, **headers: str) -> str:
        """Create an upload, and return its URL."""
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        answer = self.ask("POST", **size, **headers)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    def append(self, url: str, offset: int, content: Any, **headers: str) -> httpx.Response:
        """Send bytes."""
        return self.ask("PATCH", url, content, Content_Type=OFFSET_TYPE, Upload_Offset=str(offset), **headers)

    def offset(self, url: str) -> int:
        """Ask how much has come."""
        answer = self.ask("HEAD", url)
        assert answer.status_code == 200
        return int(answer.headers["upload-offset"])

    def upload(self, content: bytes, **headers: str) -> str:
        """Upload in one go, and return the reference."""
        answer = self.append(self.create(len(content), **headers), 0, content)
        assert answer.status_code == 204, answer.text
        return str(answer.headers["filestore-reference"])

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what the database says."""
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def change(self, statement: str) -> None:
        """Change what the database says."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement))

    def states(self) -> list[str]:
        """Return the states of all objects."""
        return sorted(state for (state,) in self.query("SELECT state FROM filestore_object"))

    def sweep(self) -> None:
        """Sweep what is due."""
        table = ledger_of(Base.metadata)
        assert table is not None
        sweep(self.engine, table, storages)

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        return [info.key for info in self.backend.list()]


Serve = Callable[..., Site]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start applications; they are stopped after the test. One may have an engine of its own to the same database."""
    with ExitStack() as stack:

        def start(
            backend: StorageBackend | None = None, *, url: str | None = None, beside: Any = None, **options: Any
        ) -> Site:
            store = backend or LocalBackend("documents", tmp_path / "files", fsync=False)
            url = url or f"sqlite:///{tmp_path}/rows.db"
            engine = sa.create_engine(url)
            stack.callback(engine.dispose)
            Base.metadata.create_all(engine)
            app = make_app(store, beside or create_async_engine(async_url(url)), **options)
            return Site(stack.enter_context(TestClient(app)), store, engine)

        yield start


@pytest.fixture
def site(serve: Serve) -> Site:
    """An application with its files on disk."""
    return serve()
