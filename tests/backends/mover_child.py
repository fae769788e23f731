"""Moves objects in a process of its own, which a test kills: ``python -m tests.backends.mover_child JSON``.

It prints a line for each object that is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

from litestar_filestore import LocalBackend, MovingBackend, ObstoreBackend
from litestar_filestore.backends.moving.mover import KnownFacts, MoveConfig, Mover

__all__ = ("moving_backend",)


def moving_backend(folder: str, bucket: dict[str, Any], writes: Literal["target", "source"]) -> MovingBackend:
    """Make the backend on a folder and a bucket."""
    return MovingBackend(
        "files",
        source=LocalBackend("disk", Path(folder), fsync=False),
        target=ObstoreBackend("bucket", **bucket),
        writes=writes,
    )


async def _facts(keys: Any) -> dict[str, KnownFacts]:
    return {key: KnownFacts("application/x-test", {"name": key}) for key in keys}


async def _main(order: dict[str, Any]) -> None:
    backend = moving_backend(**order)
    await backend.start_async()
    config = MoveConfig(facts=_facts, on_progress=lambda report: print(report.moved, flush=True))
    report = await Mover(backend, config).run()
    await backend.close_async()
    # No orderly end: see the pause at the end of commands.
    os._exit(not report.is_complete)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
