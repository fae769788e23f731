"""Servers whose store or database is gone: their workers start again, and they end when they are told to."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.plugin.test_start_outages import DRIVERS, url_behind
from tests.servers.chaos import ThreadedProxy
from tests.servers.proc import wait_for_end
from tests.servers.processes import HOST, TESTS_IMPORTABLE, RunningProcess, Surroundings, free_port, running

pytestmark = pytest.mark.slow

APP = "tests.plugin.outage_app:create_app_from_environment"
END_SECONDS = 30.0
"""A server that still runs so long after SIGTERM has hung; without a limit it took 100 s and more."""


class Server:
    """A running server, and a client of it."""

    def __init__(self, process: RunningProcess, port: int) -> None:
        self.process = process
        self._client = httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False)

    def answers(self) -> bool:
        """Return whether the server answers a new connection."""
        try:
            return self._client.get("/ping", headers={"connection": "close"}).status_code == 200
        except httpx.TransportError:
            return False

    def upload(self) -> int:
        """Store a file in a row, and return its number."""
        answer = self._client.post("/papers", files={"file": ("a.txt", b"Some text.")})
        assert answer.status_code == 201, answer.text
        return int(answer.text)

    def clear(self, number: int) -> None:
        """Take the file out of a row."""
        self._client.post(f"/papers/{number}/clear").raise_for_status()

    def log(self) -> str:
        """Return what the server has said so far."""
        return self.process.log.read_text(errors="replace")

    def close(self) -> None:
        """Leave the server alone."""
        self._client.close()


@contextmanager
def serving(folder: Path, store: ThreadedProxy, database: str, *options: str) -> Iterator[Server]:
    """Run the application with uvicorn."""
    port = free_port()
    environment = {
        **TESTS_IMPORTABLE,
        "OUTAGES_STORE": f"http://{HOST}:{store.port}",
        "OUTAGES_DATABASE": database,
        "PYTHONFAULTHANDLER": "1",
    }
    command = [sys.executable, "-P", "-m", "uvicorn", APP, "--factory", "--host", HOST, "--port", str(port), *options]
    with running("uvicorn", command, folder, Surroundings(environment=environment)) as process:
        server = Server(process, port)
        try:
            process.wait_until(server.answers)
            yield server
        finally:
            server.close()


def wait(condition: Callable[[], bool], server: Server) -> None:
    """Return when a condition holds."""
    server.process.wait_until(condition)


def ends(server: Server) -> bool:
    """Tell a server to end, and return whether it does."""
    server.close()
    os.kill(server.process.pid, signal.SIGTERM)
    return wait_for_end(server.process.pid, END_SECONDS)


def workers_of(server: Server) -> set[int]:
    """Return the processes that answer requests: those whose event loop runs the application."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()}


def test_a_worker_that_starts_in_an_outage_ends_nothing(
    tmp_path: Path, store: ThreadedProxy, postgres: ThreadedProxy, migrated: str
) -> None:
    """One of two workers is killed while bucket and database are away; its replacement serves what it can."""
    with serving(tmp_path, store, url_behind(postgres, "asyncpg", migrated), "--workers", "2") as server:
        wait(lambda: server.log().count("Application startup complete") == 2, server)
        for each in (store, postgres):
            each.refuse()
            each.drop()
        os.kill(min(workers_of(server)), signal.SIGKILL)
        wait(lambda: server.log().count("Application startup complete") == 3, server)
        assert server.answers()
        for each in (store, postgres):
            each.accept()
        wait(lambda: "is there, with 1 ledgers" in server.log() and "is back" in server.log(), server)
        assert all(server.upload() for _ in range(4))


@DRIVERS
def test_sigterm_ends_a_sweep_of_a_stalled_store(
    driver: str, tmp_path: Path, store: ThreadedProxy, postgres: ThreadedProxy, migrated: str
) -> None:
    """A DELETE that is never answered keeps no process."""
    with serving(tmp_path, store, url_behind(postgres, driver, migrated)) as server:
        number = server.upload()
        before = store.connections
        store.drop()
        store.hold()
        server.clear(number)
        wait(lambda: store.connections > before, server)
        assert ends(server), server.log()


@DRIVERS
def test_sigterm_ends_a_sweep_of_a_silent_database(
    driver: str, tmp_path: Path, store: ThreadedProxy, postgres: ThreadedProxy, migrated: str
) -> None:
    """A statement that is never answered keeps no process, nor does a connection that is never closed."""
    with serving(tmp_path, store, url_behind(postgres, driver, migrated)) as server:
        server.upload()
        postgres.hold()
        time.sleep(1.0)  # five sweeps' worth: nothing tells that one waits for an answer
        assert ends(server), server.log()


@DRIVERS
def test_sigterm_ends_a_start_beside_a_silent_database(
    driver: str, tmp_path: Path, store: ThreadedProxy, postgres: ThreadedProxy, migrated: str
) -> None:
    """Looking for a database that does not answer keeps no process."""
    postgres.hold()
    with serving(tmp_path, store, url_behind(postgres, driver, migrated)) as server:
        assert ends(server), server.log()


def test_sigterm_ends_while_a_store_is_silent(
    tmp_path: Path, store: ThreadedProxy, postgres: ThreadedProxy, migrated: str
) -> None:
    """Nor does looking for a store."""
    store.hold()
    with serving(tmp_path, store, url_behind(postgres, "asyncpg", migrated)) as server:
        assert ends(server), server.log()
