"""The application of a server process that `benchmarks.servers` starts: ``benchmarks.serve:create_app``, a factory.

Everything comes from the environment, so that every server can be told the same.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ("GAP_PATH", "create_app")

GAP_PATH = "/longest-gap"
"""Where a watched application tells for how long its event loop was blocked at most, in milliseconds.

The time in which the loop could run, but other programs had the processors, is taken off.
"""
_TICK_SECONDS = 0.002


def create_app() -> Any:
    """Return the contender's application."""
    module = importlib.import_module(f"benchmarks.contenders.{os.environ['BENCH_MODULE']}")
    app = module.create_app(Path(os.environ["BENCH_FOLDER"]), **json.loads(os.environ["BENCH_VARIANT"]))
    return _Watched(app) if os.environ.get("BENCH_WATCH") else app


class _Watched:
    """An application beside a ticker that notices when its turn comes late."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._longest = 0.0
        self._ticker: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer `GAP_PATH`, and hand on everything else."""
        if self._ticker is None:
            # As docs/performance.md recommends: a full collection that passes all that the start has made takes 50 to
            # 90 ms, whatever the application does.
            gc.freeze()
            self._ticker = asyncio.create_task(self._tick())
        if scope.get("path") != GAP_PATH:
            await self._app(scope, receive, send)
            return
        body, self._longest = f"{self._longest * 1e3:.3f}".encode(), 0.0
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _tick(self) -> None:
        # The second number is the nanoseconds that this thread has waited for a processor (proc(5)).
        scheduled = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        before = time.perf_counter() - _waited_seconds(scheduled)
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.perf_counter() - _waited_seconds(scheduled)
            self._longest = max(self._longest, now - before - _TICK_SECONDS)
            before = now


def _waited_seconds(scheduled: int) -> float:
    return int(os.pread(scheduled, 64, 0).split()[1]) / 1e9
