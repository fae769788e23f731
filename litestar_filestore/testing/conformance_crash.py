"""Crashes: a process that dies in the middle of a put leaves the old object or none."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from litestar_filestore.testing.conformance_atomic import assert_clean, assert_untouched, put_old
from litestar_filestore.testing.contents import MIB
from litestar_filestore.testing.halves import SyncHalf
from litestar_filestore.testing.harness import Harness, in_loop, once_each
from litestar_filestore.testing.slow_put import STOPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar_filestore.testing.halves import AsyncHalf
    from litestar_filestore.testing.spec import BackendSpec

    Leftovers = Callable[[], Sequence[str]] | None

__all__ = ("CrashConformance",)

CHILD_SECONDS = 30.0
"""A child process that has not stopped in its put after this time hangs."""


class CrashConformance(Harness):
    """Puts whose process is killed."""

    @once_each
    @in_loop
    async def test_process_killed(self, storage: AsyncHalf, spec: BackendSpec | None, leftovers: Leftovers) -> None:
        """SIGKILL during a put keeps the old object; the leftovers stay hidden until `clean` removes them."""
        if spec is None:
            pytest.skip("without a spec the backend cannot be built in another process")
        old = isinstance(storage, SyncHalf)  # each half once: nothing there before, and something
        await put_old(storage, wanted=old)
        order = {
            "factory": spec.factory,
            "options": spec.options,
            "prefix": storage.backend.prefix,
            "key": storage.key("a"),
            "size": 12 * MIB,
            "is_async": not isinstance(storage, SyncHalf),
        }
        await to_thread.run_sync(kill_in_mid_put, json.dumps(order))
        await assert_untouched(storage, old=old)
        await assert_clean(storage, leftovers)


def kill_in_mid_put(order: str) -> str:
    """Start `slow_put` with its line of JSON, kill it where it stops, and return what it wrote before.

    Raises:
        AssertionError: If it ends by itself, with what it wrote to standard error.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "litestar_filestore.testing.slow_put"]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(  # noqa: S603 - this interpreter, with no argument from outside
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = threading.Timer(CHILD_SECONDS, child.kill)
        watchdog.start()
        try:
            child.stdin.write(order + "\n")
            child.stdin.flush()
            lines = [child.stdout.readline()]
            while lines[-1] not in {STOPPED, ""}:
                lines.append(child.stdout.readline())
        finally:
            watchdog.cancel()
            child.kill()
        complaints.seek(0)
        assert lines[-1] == STOPPED, f"the child ended before it was killed: {complaints.read()}"
        return "".join(lines[:-1])
