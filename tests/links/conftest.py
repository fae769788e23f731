"""Applications with links, on every kind of store, and a clock that the tests turn."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    FSSpecBackend,
    LocalBackend,
    MemoryBackend,
    ObstoreBackend,
    StorageBackend,
)
from litestar_filestore.links.link_config import LinkConfig
from litestar_filestore.links.signer import LinkSigner
from litestar_filestore.sansio.tokens import KeyRing
from tests.servers.s3 import S3Server

__all__ = ("OTHER_SECRET", "SECRET", "Clock", "Serve", "Served")

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
OTHER_SECRET = "9pZx2Wc4Rn7Kt0Vb3Qm6Yd8Js1Lf5Hg7"
KINDS = ("memory", "local", "fsspec-memory", "obstore-s3", "fsspec-s3")


@dataclass
class Clock:
    """Tells the time that a test has set."""

    now: float = 1_800_000_030.5

    def __call__(self) -> float:
        """Return POSIX seconds."""
        return self.now


@dataclass
class Served:
    """A running application."""

    client: TestClient[Litestar]
    app: Litestar
    config: FilestoreConfig
    clock: Clock


Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> str:
    """A bucket for all tests; each uses a folder of its own."""
    name = f"links-{secrets.token_hex(4)}"
    s3_server.create_bucket(name)
    return name


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], StorageBackend]:
    """Make an empty store of a kind, named ``documents``."""

    def make(kind: str) -> StorageBackend:
        match kind:
            case "memory":
                return MemoryBackend("documents")
            case "local":
                return LocalBackend("documents", tmp_path / "documents")
            case "fsspec-memory":
                return FSSpecBackend("documents", "memory", f"links-{secrets.token_hex(4)}")
        server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
        return (s3_backend if kind == "obstore-s3" else s3fs_backend)(server, bucket)

    return make


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, make: Callable[[str], StorageBackend]) -> StorageBackend:
    """An empty store of each kind."""
    return make(request.param)


@pytest.fixture(params=["memory", "obstore-s3", "fsspec-s3"])
def answering(request: pytest.FixtureRequest, make: Callable[[str], StorageBackend]) -> StorageBackend:
    """A store for each of those who answer links: the application, and S3 in both ways of signing."""
    return make(request.param)


def s3_backend(server: S3Server, bucket: str, **options: Any) -> ObstoreBackend:
    """Build a backend on an empty folder of S3, through obstore."""
    usual = {
        "aws_endpoint": server.endpoint,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "aws_region": server.region,
        "client_options": {"allow_http": True},
    }
    return ObstoreBackend("documents", f"s3://{bucket}/{secrets.token_hex(4)}/", **{**usual, **options})


def s3fs_backend(server: S3Server, bucket: str) -> FSSpecBackend:
    """Build a backend on an empty folder of S3, through fsspec."""
    return FSSpecBackend(
        "documents",
        f"s3://{bucket}/{secrets.token_hex(4)}",
        username=server.access_key,
        password=server.secret_key,
        endpoint_url=server.endpoint,
        client_kwargs={"region_name": server.region},
    )


@pytest.fixture
def memory() -> MemoryBackend:
    """One store, for what does not depend on its kind."""
    return MemoryBackend("documents")


@pytest.fixture
def clock() -> Clock:
    """The clock of this test."""
    return Clock()


@pytest.fixture
def serve(clock: Clock) -> Iterator[Serve]:
    """Start applications; they are stopped after the test."""
    with ExitStack() as stack:

        def start(
            backend: StorageBackend,
            handlers: Any = (),
            *,
            secret: Any = SECRET,
            plugins: Any = (),
            filestore: dict[str, Any] | None = None,
            links: LinkConfig | None = None,
            **options: Any,
        ) -> Served:
            config = FilestoreConfig([backend], secret=secret, links=links, **(filestore or {}))
            config.signer = LinkSigner(KeyRing(secret), links or LinkConfig(), config.registry, clock=clock)
            app = Litestar([*handlers], plugins=[*plugins, FilestorePlugin(config)], **options)
            return Served(stack.enter_context(TestClient(app)), app, config, clock)

        yield start


def put(backend: StorageBackend, content: bytes = b"%PDF-1.7 ...", filename: str = "report.pdf") -> FileObject:
    """Store a file."""
    return FileObject(backend, filename, content=content).save()
