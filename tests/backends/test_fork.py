"""Backends in a process that was forked: they work, or say what to do, and never hang."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.s3 import S3Server

pytestmark = pytest.mark.matrix(cases=1)

ROOT = Path(__file__).parents[2]
SECONDS = 100
HALVES = ("sync", "async")


def forked(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """Run a process that forks, and return what it says."""
    command = [sys.executable, "-m", "tests.backends.forking", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("before", HALVES)
@pytest.mark.parametrize("after", HALVES)
def test_obstore_used_before_a_fork(before: str, after: str) -> None:
    """Its threads stay in the parent, so the child is told what to do; the parent goes on."""
    child, *others = forked("obstore", before, after)
    assert child.startswith("child: ConfigurationError obstore was used before this process was forked")
    assert "FSSpecBackend" in child
    assert others == ["status: 0", "parent: content"]


@pytest.mark.parametrize("after", HALVES)
def test_obstore_made_before_a_fork(after: str) -> None:
    """A backend that was only made works in the child, as under a server that loads the application first."""
    assert forked("obstore", "nothing", after) == ["child: content", "status: 0", "parent: content"]


@pytest.mark.parametrize("before", HALVES)
@pytest.mark.parametrize("after", HALVES)
def test_fsspec_used_before_a_fork(s3_server: S3Server, before: str, after: str) -> None:
    """It opens a file system of its own in the child."""
    bucket = f"fork-{secrets.token_hex(4)}"
    s3_server.create_bucket(bucket)
    secret = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    told = forked("s3", before, after, s3_server.endpoint, bucket, environment={**os.environ, **secret})
    assert told == ["child: content", "status: 0", "parent: content"]
