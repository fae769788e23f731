"""A process that uses a backend, forks, and says what its child met; a program, as it must have no other threads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from litestar_filestore import FileObject, FSSpecBackend, ObstoreBackend, StorageBackend

__all__ = ()

CHILD_SECONDS = 30
"""A child that hangs is killed after so long."""


def use(backend: StorageBackend) -> str:
    """Store and read one object."""
    content = FileObject(backend, "a.txt", content=b"content").save().get_content()
    return content.decode()


def use_async(backend: StorageBackend) -> str:
    """Do the same in an event loop."""

    async def run() -> str:
        file = await FileObject(backend, "a.txt", content=b"content").save_async()
        return (await file.get_content_async()).decode()

    return asyncio.run(run())


def obstore() -> StorageBackend:
    """Return a backend whose store starts the threads of obstore."""
    return ObstoreBackend("forking", "memory:///")


def s3() -> StorageBackend:
    """Return a backend with connections and an event loop in a thread."""
    endpoint, bucket = sys.argv[4:]
    return FSSpecBackend("forking", "s3", prefix=f"{bucket}/fork", endpoint_url=endpoint)


MAKE: dict[str, Callable[[], StorageBackend]] = {"obstore": obstore, "s3": s3}
USE: dict[str, Callable[[StorageBackend], Any]] = {"sync": use, "async": use_async, "nothing": lambda _backend: None}


def main() -> None:
    """Use a backend as the second argument says, fork, and use it as the third one says."""
    backend = MAKE[sys.argv[1]]()
    USE[sys.argv[2]](backend)
    child = os.fork()
    if not child:
        signal.alarm(CHILD_SECONDS)
        try:
            print("child:", USE[sys.argv[3]](backend), flush=True)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test looks at it
            print("child:", type(error).__name__, error, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("status:", status)
    print("parent:", USE["sync"](backend), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
