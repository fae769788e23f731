"""The programs that people download with; one that is not installed skips its tests."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.servers.processes import missing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("run_program",)


def run_program(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, which has to be good."""
    program = str(command[0])
    if shutil.which(program) is None:
        missing(f"{program} is not installed: apt-get install {program.removesuffix('c')}")
    return subprocess.run([*map(str, command)], check=True, timeout=60, capture_output=True)
