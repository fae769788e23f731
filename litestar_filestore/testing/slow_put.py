"""A put that stops in the middle, in a process of its own, so that a test can kill it there.

usage: python -m litestar_filestore.testing.slow_put

Reads one line of JSON from standard input: ``factory`` and ``options`` (see `BackendSpec`), ``prefix``, ``key``,
``size`` in bytes, and ``is_async``. Begins to put that many bytes, with ``overwrite``, writes the line ``stopped`` when
the driver has taken them all, and waits for the end of standard input. Then it exits without finishing the put.

With ``in_parts``, it begins an object in parts instead, puts one of that size, writes a line of JSON that says how to
go on (the name of the unfinished object and the part), and stops in the next part in the same way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.testing.spec import BackendSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("STOPPED", "main")

STOPPED = "stopped\n"
"""Written by the process when the put waits for more."""


def main() -> None:
    """Do what the line on standard input says. Does not return."""
    order = json.loads(sys.stdin.readline())
    backend = BackendSpec(order["factory"], order["options"]).build(order["prefix"])
    if order.get("in_parts"):
        asyncio.run(_put_parts_async(backend, order["key"], order["size"]))
    elif order["is_async"]:
        asyncio.run(_put_async(backend, order["key"], order["size"]))
    else:
        backend.put(_blocks(order["size"]), key=order["key"], overwrite=True)
    sys.exit("the put has come to its end")


async def _put_async(backend: StorageBackend, key: str, size: int) -> None:
    await backend.put_async(_blocks_async(size), key=key, overwrite=True)


async def _put_parts_async(backend: StorageBackend, key: str, size: int) -> None:
    upload = await backend.begin_parts_async(key)
    part = await backend.put_part_async(key, upload, 1, 0, _filler(size), size=size)
    sys.stdout.write(json.dumps([upload, part.number, part.offset, part.size, part.receipt]) + "\n")
    await backend.put_part_async(key, upload, 2, size, _blocks_async(size))


def _blocks(size: int) -> Iterator[bytes]:
    yield from _filler(size)
    _stop()


async def _blocks_async(size: int) -> AsyncGenerator[bytes, None]:
    for block in _filler(size):
        yield block
    await asyncio.to_thread(_stop)  # the loop goes on: parts are sent by its tasks


def _filler(size: int) -> Iterator[bytes]:
    for start in range(0, size, BLOCK_BYTES):
        yield b"\xaa" * min(BLOCK_BYTES, size - start)


def _stop() -> None:
    sys.stdout.write(STOPPED)
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(1)  # not an exception: the driver must get no chance to clean up


if __name__ == "__main__":
    main()
