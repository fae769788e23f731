"""The example app in a process of its own, on whatever it is told to store in."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from litestar_filestore import LocalBackend, ObstoreBackend, StorageBackend
from tests.direct.cors import permit
from tests.servers.postgres import PostgresServer
from tests.servers.processes import HOST, TESTS_IMPORTABLE, RunningProcess, Surroundings, free_port, running
from tests.servers.s3 import S3Server

__all__ = ("MAX_BYTES", "Example", "serve_on_cloud", "serve_on_disk")

MAX_BYTES = 32_000_000
"""Largest file that the app is told to accept."""


@dataclass(frozen=True)
class Example:
    """A running example app."""

    url: str
    """Where it answers, without a trailing slash."""
    connect: Callable[[], StorageBackend]
    """Makes a backend for what it stores in, for a look behind its back; a test that lets go of it leaves no socket."""
    data: Path
    """Its folder, where it runs on the disk."""
    process: RunningProcess
    """What runs."""

    @property
    def keys(self) -> set[str]:
        """The keys of all stored objects."""
        return {info.key for info in self.connect().list()}

    def wait_until_only(self, keys: set[str]) -> None:
        """Return when no other objects than these are left: the app sweeps by itself, after it has answered.

        Raises:
            ServerFailedError: If that does not happen, or the app ends.
        """
        self.process.wait_until(lambda: self.keys <= keys)

    def client(self) -> httpx.Client:
        """Return a client for the app; the caller closes it."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)


@contextmanager
def serve_on_disk(directory: Path, **environment: str) -> Iterator[Example]:
    """Run the app as ``make run`` does: rows in SQLite, files in a folder."""
    data = directory / "data"
    with _serving(directory, {"FILESTORE_DATA": str(data), **environment}, free_port()) as (url, process):
        yield Example(url, partial(LocalBackend, "documents", data / "library"), data, process)


@contextmanager
def serve_on_cloud(
    directory: Path, s3: S3Server, postgres: PostgresServer, *, port: int | None = None, max_bytes: int = MAX_BYTES
) -> Iterator[Example]:
    """Run the app with rows in PostgreSQL and files in a bucket, on any port unless one is given.

    Browsers put files into the bucket themselves: it permits pages of this app to do so.
    """
    port, name = port or free_port(), f"example{uuid.uuid4().hex}"
    s3.create_bucket(name)
    postgres.create_database(name)
    environment = {
        "DATABASE_URL": postgres.url("asyncpg", name),
        "FILESTORE_URL": f"s3://{name}/documents",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_REGION": s3.region,
        "FILESTORE_BUCKET_ORIGIN": s3.endpoint,
        "FILESTORE_DATA": str(directory / "data"),
        "FILESTORE_MAX_BYTES": str(max_bytes),
    }
    connect = partial(
        ObstoreBackend,
        "documents",
        environment["FILESTORE_URL"],
        aws_endpoint=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        aws_region=s3.region,
        client_options={"allow_http": True},
    )
    permit(connect(), f"http://{HOST}:{port}", apply=True)
    with _serving(directory, environment, port) as (url, process):
        yield Example(url, connect, directory, process)


@contextmanager
def _serving(directory: Path, environment: Mapping[str, str], port: int) -> Iterator[tuple[str, RunningProcess]]:
    command = [sys.executable, "-P", "-m", "uvicorn", "example_app.app:app", "--host", HOST, "--port", str(port)]
    surroundings = Surroundings(
        environment={**TESTS_IMPORTABLE, "FILESTORE_MAX_BYTES": str(MAX_BYTES), "NO_PROXY": HOST, **environment}
    )
    with running("example-app", command, directory, surroundings, stop_signal=signal.SIGINT) as process:
        process.wait_for_port(port)
        yield f"http://{HOST}:{port}", process
