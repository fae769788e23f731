"""A large file costs little memory, measured with the benchmark itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import memory
from tests.docs.run_page import ROOT

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def test_local_file_passes_in_a_few_mib(capfd: pytest.CaptureFixture[str]) -> None:
    """64 MiB go in and out of a local folder, sync and async, and no process grows by 16 MiB."""
    status = memory.main(["--store", "local", "--store", "local, fsspec name", "--mib", "64", "--limit-mib", "16"])
    table = capfd.readouterr().out
    assert status == 0, table
    assert len(table.splitlines()) == 2 + 2 * 4


def test_growth_above_the_limit_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A row that reaches the limit is marked, and the exit status says so."""
    assert memory.main(["--store", "local", "--mib", "1", "--limit-mib", "0"]) == 1
    assert capfd.readouterr().out.count("too much") == 4


HOLDS_EVERYTHING = """
import json
from benchmarks.memory_case import measure
from litestar_filestore.backends.memory import MemoryBackend
print(json.dumps(measure(MemoryBackend("memory"), 64 * 1024 * 1024, None)))
"""


def test_measurement_notices_a_file_held_in_memory() -> None:
    """A store that keeps 64 MiB in the process is seen to grow by no less."""
    command = [sys.executable, "-c", HOLDS_EVERYTHING]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(result.stdout)["growth_bytes"] >= 64 * MIB
