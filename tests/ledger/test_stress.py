"""Many on few rows, killed and cancelled at random: nothing dangles at any moment, nothing is left in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.mariadb import MariadbServer
    from tests.servers.postgres import PostgresServer

PROCESSES = {
    "--database postgresql --faults": 20,
    "--database postgresql --snapshots": 4,
    "--database sqlite": 4,
    "--database mariadb": 4,
}
"""What every run of the tests does, and for how many seconds. The first one has the most ways to go wrong."""
TASKS = {"--database postgresql --faults": 8, "--database sqlite": 8}
_FOR_MINUTES = ("", " --snapshots", " --faults")
MORE_PROCESSES = [
    f"--database {database}{option}"
    for database in ("postgresql", "sqlite", "mariadb")
    for option in _FOR_MINUTES
    if option != " --snapshots" or database == "postgresql"
]
MORE_TASKS = [
    f"--database {database}{option}" for database in ("postgresql", "sqlite", "mariadb") for option in ("", " --faults")
]


Run: TypeAlias = "Callable[[str, str, float], dict[str, Any]]"


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a stress program on a new database of one of the servers that all tests share: a missing one is skipped."""

    def run(module: str, arguments: str, seconds: float) -> dict[str, Any]:
        kind = arguments.split()[1]
        name = f"stress_{uuid.uuid4().hex}"
        if kind == "sqlite":
            return _run(module, arguments.split(), tmp_path, seconds)
        server: PostgresServer | MariadbServer
        server = request.getfixturevalue("postgres_server" if kind == "postgresql" else "mariadb_server")
        server.create_database(name)
        driver: Any = "psycopg" if kind == "postgresql" else "pymysql"
        return _run(module, [*arguments.split(), "--url", server.url(driver, name)], tmp_path, seconds)

    return run


def _run(module: str, arguments: list[str], directory: Path, seconds: float) -> dict[str, Any]:
    """Run it to its end and return its report, after the checks that all of them have in common."""
    command = [sys.executable, "-m", f"tests.ledger.{module}", "--seconds", str(seconds), *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TMPDIR": str(directory),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=seconds + 90)
    assert done.stdout, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["unexpected"] == []
    assert report["damage"] == []
    assert done.returncode == 0
    # That something was done at all: how much it is depends on who else uses the machine.
    counts = Counter(report["counts"])
    assert counts["checks"] >= 2, counts
    assert counts["ok"] > seconds / 2, counts
    if module != "stress_async" or "sqlite" not in arguments:
        # There, a task that was cancelled may hold the write lock for seconds: the sweeps in between may all meet it.
        assert counts["swept"] >= 2, counts
    return report


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("arguments", "seconds"), PROCESSES.items())
def test_processes(run: Run, arguments: str, seconds: float) -> None:
    """Processes that are killed at random, beside two sweepers that give uploads 50 ms."""
    report = run("stress", arguments, seconds)
    assert report["counts"]["kills"] >= 2
    if "--faults" in arguments:
        assert report["counts"]["BackendUnavailableError"] > 0


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("arguments", "seconds"), TASKS.items())
def test_tasks(run: Run, arguments: str, seconds: float) -> None:
    """Tasks that are cancelled at random; in the end all connections are back in their pools."""
    report = run("stress_async", arguments, seconds)
    assert report["counts"]["cancelled"] > seconds / 2
    if "--faults" in arguments:
        assert report["counts"]["faults"] > 0


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("arguments", MORE_PROCESSES)
def test_processes_for_minutes(run: Run, arguments: str, seed: int) -> None:
    """The same for two minutes, with several seeds."""
    run("stress", f"{arguments} --seed {seed}", 120)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("arguments", MORE_TASKS)
def test_tasks_for_minutes(run: Run, arguments: str, seed: int) -> None:
    """The same for two minutes, with several seeds."""
    run("stress_async", f"{arguments} --seed {seed}", 120)
