"""What the kernel tells about processes, one's own and others, by ``/proc`` and pidfds."""

from __future__ import annotations

import os
import select
from pathlib import Path

__all__ = ("members_of", "processes_in", "wait_for_end")


def wait_for_end(process: int, timeout_seconds: float) -> bool:
    """Whether a process has ended after at most this long. A child is not reaped, so its id stays taken."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_seconds)[0])
    finally:
        os.close(descriptor)


def members_of(group: int) -> list[int]:
    """List the processes of a process group, those included that have ended and were not reaped."""
    return [process for process in _all() if _group_of(process) == group]


def processes_in(directory: Path) -> list[int]:
    """List the live processes that work in `directory` or below, or whose standard output goes there.

    Servers of :mod:`tests.servers` match both ways, and so do their descendants, even those that left the session.
    """
    root = directory.resolve()
    return [process for process in _all() if _lives_in(process, root)]


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group_of(process: int) -> int | None:
    try:
        return os.getpgid(process)
    except ProcessLookupError:
        return None


def _lives_in(process: int, root: Path) -> bool:
    for link in ("cwd", "fd/1"):
        try:
            if Path(f"/proc/{process}/{link}").readlink().is_relative_to(root):
                return True
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or is somebody else's
    return False
