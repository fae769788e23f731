"""The application in a process of its own, under uvicorn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ledger.places import async_url
from tests.servers.processes import HOST, TESTS_IMPORTABLE, RunningProcess, Surroundings, free_port, running

__all__ = ("serving",)

APP = "tests.tus.tus_app:create_app_from_environment"


@contextmanager
def serving(
    folder: Path, store: str, database: str, *, max_open: int = 100, experimental: bool = False
) -> Iterator[tuple[int, RunningProcess]]:
    """Run the application, and yield its port and its process.

    Args:
        folder: For its log.
        store: The described store.
        database: URL of the database, whose tables are there.
        max_open: How many open uploads an owner may have.
        experimental: Whether it speaks the draft of the IETF too.
    """
    port = free_port()
    command = [sys.executable, "-P", "-m", "uvicorn", APP, "--factory", "--host", HOST, "--port", str(port)]
    environment = {**TESTS_IMPORTABLE, "TUS_STORE": store, "TUS_DATABASE": async_url(database)}
    environment |= {"TUS_MAX_OPEN": str(max_open), "TUS_EXPERIMENTAL": str(int(experimental))}
    with running(f"uvicorn-{port}", command, folder, Surroundings(environment=environment)) as process:
        process.wait_for_port(port)
        yield port, process
