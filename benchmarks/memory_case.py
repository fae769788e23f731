"""One measurement of `benchmarks.memory`, in a process of its own: ``python -m benchmarks.memory_case JSON``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.places import Place, make_backend
from litestar_filestore.core.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from litestar_filestore.core.backend import StorageBackend

__all__ = ()

PIECE_BYTES = 64 * 1024
"""What a server hands over at a time."""
WARM_UP_BYTES = 1024 * 1024
"""One small round trip loads the libraries and starts the threads, which belong to no file."""


def memory_bytes(name: str) -> int:
    """Return ``VmRSS`` (resident now) or ``VmHWM`` (its peak since the program started)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def pieces(total: int) -> Iterator[bytes]:
    """Yield `total` bytes; every piece is a new object, as from a socket."""
    for number in range(total // PIECE_BYTES):
        yield number.to_bytes(8, "big") * (PIECE_BYTES // 8)


async def pieces_async(total: int) -> AsyncIterator[bytes]:
    """`pieces` as an async generator."""
    for piece in pieces(total):
        yield piece


def save(backend: StorageBackend, total: int) -> FileObject:
    """Store `total` bytes."""
    return FileObject(backend, "big.bin", content=pieces(total)).save()


async def save_async(backend: StorageBackend, total: int) -> FileObject:
    """Store `total` bytes."""
    return await FileObject(backend, "big.bin", content=pieces_async(total)).save_async()


def read(file: FileObject) -> int:
    """Return how many bytes the file streams."""
    return sum(len(block) for block in file.stream())


async def read_async(file: FileObject) -> int:
    """Return how many bytes the file streams."""
    return sum([len(block) async for block in file.stream_async()])


def measure(backend: StorageBackend, total: int, key: str | None) -> dict[str, Any]:
    """Put `total` bytes, or get the object `key`, and say how far memory grew."""
    warm_up = save(backend, WARM_UP_BYTES)
    read(warm_up)
    before, start = memory_bytes("VmRSS"), time.perf_counter()
    file = save(backend, total) if key is None else FileObject(backend, "big.bin", key)
    size = read(file) if key is not None else file.size
    result = report(before, start, file, size)
    warm_up.delete()
    return result


async def measure_async(backend: StorageBackend, total: int, key: str | None) -> dict[str, Any]:
    """`measure` through the async half."""
    warm_up = await save_async(backend, WARM_UP_BYTES)
    await read_async(warm_up)
    before, start = memory_bytes("VmRSS"), time.perf_counter()
    file = await save_async(backend, total) if key is None else FileObject(backend, "big.bin", key)
    size = await read_async(file) if key is not None else file.size
    result = report(before, start, file, size)
    await warm_up.delete_async()
    await backend.close_async()
    return result


def report(before: int, start: float, file: FileObject, size: int | None) -> dict[str, Any]:
    """Return the outcome for the parent. The peak of the warm-up counts as well: the growth is never too small."""
    return {
        "growth_bytes": max(0, memory_bytes("VmHWM") - before),
        "seconds": time.perf_counter() - start,
        "key": file.key,
        "size": size,
    }


def main(task: dict[str, Any]) -> None:
    """Do one task and print its outcome as JSON."""
    backend = make_backend(task["store"], Place(**task["place"]))
    if task["half"] == "sync":
        outcome = measure(backend, task["bytes"], task["key"])
        backend.close()
    else:
        outcome = asyncio.run(measure_async(backend, task["bytes"], task["key"]))
    sys.stdout.write(json.dumps(outcome))
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    # Seen once in some forty runs: obstore 0.12.1 on Python 3.11 aborts the process while the interpreter goes down,
    # after everything was done. The measurement is complete by now, so the interpreter is left out of it.
    os._exit(0)
