"""Tells what fails always from what failed once: ``python -m tests.second_look "make test-all"``.

Nine thousand tests that start servers, kill processes and wait for sockets meet a moment now and then in which two
cores had no time for them. What fails is run again, alone and several times, and has to pass each time.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

__all__ = ("main",)

ROOT = Path(__file__).parent.parent
FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
TIMES = 5
MOST = 8
"""Of more failures than that, none is by chance."""


def look(command: str) -> list[str]:
    """Run a command that runs the tests, and return those that failed.

    Raises:
        SystemExit: If it failed in another way than by tests.
    """
    FAILED.unlink(missing_ok=True)
    status = subprocess.run(shlex.split(command), cwd=ROOT, check=False).returncode
    failed = list(json.loads(FAILED.read_bytes())) if FAILED.exists() else []
    if bool(status) != bool(failed):
        raise SystemExit(f"{command} ended with {status}, and {len(failed)} tests failed: see above")
    return failed


def look_again(failed: list[str]) -> int:
    """Run these tests alone, so often that chance is no explanation, and return the exit status."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", ""]
    for time in range(1, TIMES + 1):
        print(f"\nSecond look, {time} of {TIMES}: {len(failed)} that failed", flush=True)
        if status := subprocess.run([*pytest, *failed], cwd=ROOT, check=False).returncode:
            return status
    print("\nFailed once, and passed alone each time:", *failed, sep="\n  ", flush=True)
    return 0


def main(command: str) -> int:
    """Run the tests, look again at what failed, and return the exit status."""
    failed = look(command)
    if len(failed) > MOST:
        print(f"\n{len(failed)} tests failed: too many for a second look", flush=True)
        return 1
    return look_again(failed) if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
