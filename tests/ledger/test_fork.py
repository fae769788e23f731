"""Connections that the package has opened itself belong to one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.world import World

ROOT = Path(__file__).parents[2]
SECONDS = 100


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("order", ["dispose", "stage"])
def test_rows_on_both_sides_of_a_fork(world: World, order: str) -> None:
    """The child writes its intents on a connection of its own, and leaves the parent's as it is."""
    url = world.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.ledger.forking", url, str(world.root), order]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.stdout, done.returncode) == ("status: 0\n", 0), done.stderr
    assert world.contents() == {1: ("1", ()), 2: ("2", ()), 3: ("3", ())}
