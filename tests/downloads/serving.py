"""The application of the download tests under the servers that people use."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.processes import TESTS_IMPORTABLE, RunningProcess, Surroundings, find_package, free_port, running

__all__ = ("SERVERS", "Served", "serve")

SERVERS = ("uvicorn", "granian")
APPLICATION = "tests.downloads.app:app"


@dataclass(frozen=True)
class Served:
    """A running server."""

    name: str
    port: int
    process: RunningProcess


def _command(server: str, port: int) -> list[str]:
    common = [sys.executable, "-P", "-m", server]
    if server == "uvicorn":
        return [*common, APPLICATION, "--port", str(port), "--log-level", "warning", "--lifespan", "on"]
    return [*common, "--interface", "asgi", "--port", str(port), "--workers", "1", "--no-ws", APPLICATION]


@contextmanager
def serve(server: str, directory: Path, settings: Mapping[str, Any]) -> Iterator[Served]:
    """Run the application with `settings` under a server.

    Raises:
        ServerMissingError: The server is not installed.
        ServerFailedError: It does not start.
    """
    find_package(server, f"pip install {server}")
    port = free_port()
    environment = {**TESTS_IMPORTABLE, "FILESTORE_DOWNLOADS": json.dumps(settings)}
    with running(server, _command(server, port), directory, Surroundings(environment=environment)) as process:
        process.wait_for_port(port)
        yield Served(server, port, process)
