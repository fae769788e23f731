"""The application of `tests.uploads.shapes` behind real servers, and in Litestar's test client."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from litestar.testing import TestClient

from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, free_port, running
from tests.uploads.shapes import BACKEND, Base, create_app
from tests.uploads.state import Store

__all__ = ("SERVERS", "Target")

APP = "tests.uploads.shapes:create_app_from_environment"


@dataclass(frozen=True)
class Target:
    """A running application."""

    client: httpx.Client
    """Sends to it."""
    store: Store
    """Looks at what is left."""


@contextmanager
def _by_uvicorn(folder: Path) -> Iterator[Target]:
    port = free_port()
    options = ["--factory", "--host", HOST, "--port", str(port), "--no-access-log"]
    with _serving("uvicorn", ["-m", "uvicorn", APP, *options], folder, port) as target:
        yield target


@contextmanager
def _by_granian(folder: Path) -> Iterator[Target]:
    port = free_port()
    options = ["--factory", "--interface", "asgi", "--host", HOST, "--port", str(port)]
    with _serving("granian", ["-m", "granian", APP, *options], folder, port) as target:
        yield target


@contextmanager
def _serving(name: str, command: list[str], folder: Path, port: int) -> Iterator[Target]:
    surroundings = Surroundings(environment={**TESTS_IMPORTABLE, "UPLOAD_SHAPES_FOLDER": str(folder)})
    with running(name, [sys.executable, "-P", *command], folder, surroundings) as process:
        process.wait_for_port(port)
        with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as client:
            yield Target(client, Store(folder, BACKEND, Base))


@contextmanager
def _by_test_client(folder: Path) -> Iterator[Target]:
    with TestClient(create_app(folder)) as client:
        yield Target(client, Store(folder, BACKEND, Base))


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "uvicorn": _by_uvicorn,
    "granian": _by_granian,
    "test client": _by_test_client,
}
"""Starts the application in a folder, by the name of the server."""
