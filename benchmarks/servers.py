"""Runs contenders in server processes of their own, and reads from the kernel what those have used. Linux only."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.servers import nginx
from tests.servers.proc import processes_in
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.contenders import Contender

__all__ = ("Server", "Usage", "cpu_seconds", "serve")

_MIB = 1024 * 1024
_NGINX = """
        client_max_body_size 0;
        location /files/ {{ root {root}; dav_methods PUT; create_full_put_path on; }}
"""
_APP = "benchmarks.serve:create_app"
_COMMANDS = {
    # A connection may be idle while others are measured.
    "uvicorn": [
        "-m",
        "uvicorn",
        "--factory",
        "--no-access-log",
        "--log-level",
        "warning",
        "--timeout-keep-alive",
        "75",
    ],
    "granian": ["-m", "granian", "--factory", "--interface", "asgi", "--workers", "1"],
}
_QUIET_SECONDS = 0.05
_QUIET_SHARE = 0.05
_SETTLE_SECONDS = 2.0


class Usage(NamedTuple):
    """What a server has used since it started."""

    cpu_seconds: float
    written_bytes: int
    """Bytes given to write(2) and its relatives: files, and answers where the server writes those in this way."""


class Server:
    """A running contender."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        """Holds its rows and files, and its log."""
        self._processes = processes_in(folder)

    def usage(self) -> Usage:
        """Return what all of its processes have used."""
        return Usage(
            sum(cpu_seconds(process) for process in self._processes),
            sum(_fact(process, "io", "wchar") for process in self._processes),
        )

    def settle(self) -> None:
        """Return when the server does nothing any more: some go on after they have answered."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        before = self.usage().cpu_seconds
        while time.monotonic() < deadline:
            time.sleep(_QUIET_SECONDS)
            now = self.usage().cpu_seconds
            if now - before < _QUIET_SECONDS * _QUIET_SHARE:
                return
            before = now

    def memory_bytes(self, name: str) -> int:
        """Return ``VmRSS`` (resident now), or ``VmHWM`` (its peak since `forget_peak`)."""
        return sum(_fact(process, "status", name) * 1024 for process in self._processes)

    def forget_peak(self) -> None:
        """Begin a new peak (proc_pid_clear_refs(5))."""
        for process in self._processes:
            Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")

    def large_files(self) -> set[Path]:
        """Return the files of a mebibyte and more."""
        found: set[Path] = set()
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # moved into place meanwhile
                if path.is_file() and path.stat().st_size >= _MIB and "sqlite" not in path.name:
                    found.add(path)
        return found


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process, of all its threads, also of those that have ended.

    It is the clock of clock_getcpuclockid(3), which counts nanoseconds; /proc/<pid>/stat shows the same in hundredths.
    """
    return time.clock_gettime((~process << 3) | 2)


def _fact(process: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{process}/{file}").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


@contextmanager
def serve(
    contender: Contender, folder: Path, environment: Mapping[str, str], *, is_watched: bool = False
) -> Iterator[Server]:
    """Run a contender in an empty `folder`, which its objects, rows and log go to.

    Args:
        contender: Who is served.
        folder: An empty folder.
        environment: More variables for its process.
        is_watched: Whether the application watches its event loop, which costs processor time.
    """
    folder.mkdir()
    if contender.server == "nginx":
        (folder / "files").mkdir()
        with nginx.serve(folder, _NGINX.format(root=folder)) as port:
            yield Server(port, folder)
        return
    port = free_port()
    command = [*_COMMANDS.get(contender.server, ["-m", f"benchmarks.contenders.{contender.module}"])]
    if contender.server in _COMMANDS:
        command += ["--host", HOST, "--port", str(port), _APP]
    variables = {
        **TESTS_IMPORTABLE,
        **environment,
        "BENCH_MODULE": contender.module,
        "BENCH_FOLDER": str(folder),
        "BENCH_PORT": str(port),
        "BENCH_VARIANT": json.dumps(contender.variant),
        "BENCH_WATCH": "1" if is_watched else "",
    }
    surroundings = Surroundings(environment=variables)
    # granian has a child, which it ends on SIGTERM; SIGKILL would leave it when this process is killed.
    orphan_signal = signal.SIGTERM if contender.server == "granian" else signal.SIGKILL
    with running(
        "server", [sys.executable, "-P", *command], folder, surroundings, orphan_signal=orphan_signal
    ) as process:
        process.wait_for_port(port)
        yield Server(port, folder)
