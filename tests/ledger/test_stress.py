"""Many on few rows, killed and cancelled at random: nothing dangles at any moment, nothing is left in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
PROCESSES = [
    ["--database", "postgresql"],
    ["--database", "postgresql", "--snapshots"],
    ["--database", "sqlite"],
    ["--database", "postgresql", "--faults"],
    ["--database", "sqlite", "--faults"],
]
TASKS = [["--database", "postgresql"], ["--database", "sqlite"]]


def run(module: str, arguments: list[str], directory: Path, seconds: float) -> dict[str, Any]:
    """Run a stress program to its end and return its report, after the checks that all of them have in common."""
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
    assert report["counts"]["checks"] > seconds
    assert report["counts"]["ok"] > 5 * seconds
    assert report["counts"]["swept"] > seconds
    return report


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("arguments", PROCESSES, ids=" ".join)
def test_processes(tmp_path: Path, arguments: list[str]) -> None:
    """Processes that are killed at random, beside two sweepers that give uploads 50 ms."""
    report = run("stress", arguments, tmp_path, SECONDS)
    assert report["counts"]["kills"] >= 10
    if "sqlite" not in arguments and "--snapshots" not in arguments:
        assert report["needed_fsck"] == 0
    if "--faults" in arguments:
        assert report["counts"]["BackendUnavailableError"] > 0


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("arguments", TASKS, ids=" ".join)
def test_tasks(tmp_path: Path, arguments: list[str]) -> None:
    """Tasks that are cancelled at random; in the end all connections are back in their pools."""
    report = run("stress_async", arguments, tmp_path, SECONDS)
    assert report["counts"]["cancelled"] >= 50
    assert report["needed_fsck"] == 0


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("arguments", PROCESSES, ids=" ".join)
def test_processes_for_minutes(tmp_path: Path, arguments: list[str], seed: int) -> None:
    """The same for two minutes, with several seeds."""
    run("stress", [*arguments, "--seed", str(seed)], tmp_path, 120)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("arguments", TASKS, ids=" ".join)
def test_tasks_for_minutes(tmp_path: Path, arguments: list[str], seed: int) -> None:
    """The same for two minutes, with several seeds."""
    run("stress_async", [*arguments, "--seed", str(seed)], tmp_path, 120)
