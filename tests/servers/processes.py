"""Start, watch and end the processes of real servers. Linux only: it rests on sessions, pidfds and prctl(2)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import NoReturn, TypeVar

import pytest

from tests.servers.proc import members_of, wait_for_end

__all__ = (
    "HOST",
    "TESTS_IMPORTABLE",
    "RunningProcess",
    "ServerFailedError",
    "ServerMissingError",
    "Surroundings",
    "find_package",
    "find_program",
    "free_port",
    "missing",
    "require",
    "run",
    "running",
)

Facts = TypeVar("Facts")

HOST = "127.0.0.1"
"""The only address that servers listen on."""

START_SECONDS = 30.0
"""A server that does not answer after this long has failed."""

STOP_SECONDS = 10.0
"""A server that still runs this long after its stop signal is killed."""

POLL_SECONDS = 0.02
"""Pause between two questions whether a server is ready: no event tells that a foreign program has begun to listen."""

TESTS_IMPORTABLE = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
}
"""Environment of a Python program that is part of the tests, to be run with ``-P -m``."""

# Below the kernel's range for outgoing connections (32768 and up on Linux), so that no client on the machine can be
# given the port between the choice here and the moment when the server binds it.
_PORTS = range(20_000, 32_000)
_handed_out: set[int] = set()


class ServerMissingError(Exception):
    """A server's program or package is not installed; the message says what to install."""


class ServerFailedError(Exception):
    """A server ended or did not answer in time; the message ends with the tail of its log."""


def missing(reason: str) -> NoReturn:
    """Skip the test that needs something not installed, or fail it when the variable ``CI`` is set.

    Raises:
        pytest.skip.Exception: On a developer's machine.
        pytest.fail.Exception: In continuous integration, where a skip would hide that nothing was tested.
    """
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def require(serve: Callable[[Path], AbstractContextManager[Facts]], directory: Path) -> Iterator[Facts]:
    """Run `serve` in `directory`; if its server is not installed, leave by :func:`missing`."""
    with ExitStack() as stack:
        try:
            facts = stack.enter_context(serve(directory))
        except ServerMissingError as error:
            missing(str(error))
        yield facts


def find_program(name: str, install: str) -> Path:
    """Find the path of a program.

    Raises:
        ServerMissingError: It is not on the search path; the message repeats `install`.
    """
    if (found := shutil.which(name)) is None:
        raise ServerMissingError(f"{name} is not installed: {install}")
    return Path(found)


def find_package(module: str, install: str) -> None:
    """Make sure that a Python module can be imported, without importing it.

    Raises:
        ServerMissingError: It cannot; the message repeats `install`.
    """
    if importlib.util.find_spec(module) is None:
        raise ServerMissingError(f"the package {module} is not installed: {install}")


def free_port() -> int:
    """Choose a TCP port that is free on :data:`HOST` and that this process has not chosen before."""
    while True:
        # The system's generator: test runs side by side must not draw the same numbers from one seed.
        port = SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _handed_out:
            _handed_out.add(port)
            return port


@dataclass(frozen=True)
class RunningProcess:
    """A process that leads its own session and process group."""

    name: str
    log: Path
    pid: int

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return as soon as `ready` answers true.

        Raises:
            ServerFailedError: The process ended first, or :data:`START_SECONDS` have passed.
        """
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if wait_for_end(self.pid, timeout_seconds=0):
                self.fail("ended")
            if time.monotonic() > deadline:
                self.fail(f"did not answer within {START_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def wait_for_port(self, port: int) -> None:
        """Return as soon as `port` accepts connections; raises like :meth:`wait_until`."""
        self.wait_until(lambda: _accepts(port))

    def fail(self, reason: str) -> NoReturn:
        """Raise the error that says what is wrong, with the last 40 lines of the log."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
        raise ServerFailedError(f"{self.name} {reason}; its log:\n{tail}")


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class Surroundings:
    """What a program finds around itself."""

    home: Path | None = None
    """Where it runs and keeps temporary files, if not where its log is."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables on top of this process's own."""
    owner: tuple[int, int] | None = None
    """User id and group id to run as, if not the current ones; only root can choose."""


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    directory: Path,
    surroundings: Surroundings = Surroundings(),
    *,
    stop_signal: int = signal.SIGKILL,
    orphan_signal: int = signal.SIGKILL,
) -> Iterator[RunningProcess]:
    """Run a program in `directory`, with ``<name>.log`` there as its output, and end it on exit.

    The kernel also ends it when the *thread* that started it ends, be it by `kill -9`: enter this in the main thread,
    or in one that lives as long as the program is needed.

    Args:
        name: Names the log and the errors.
        command: Program and arguments.
        directory: Where the log is written. It exists already.
        surroundings: What differs from this process, for the program.
        stop_signal: Ends the program. SIGKILL suits one that has nothing worth keeping.
        orphan_signal: Sent when this process dies. SIGKILL suits a program without children; one that has children
            needs a signal on which it ends them.

    Raises:
        ServerMissingError: There is no such program, or this is not Linux.
    """
    if sys.platform != "linux":
        raise ServerMissingError(f"{name}: the test servers need Linux")
    program = find_program(str(command[0]), f"{name} needs it")
    uid, gid = surroundings.owner or (os.geteuid(), os.getegid())
    launcher = Path(__file__).with_name("launcher.py")
    tie = [os.getpid(), int(orphan_signal), uid, gid]
    launch = [sys.executable, "-I", "-S", launcher, *tie, "--", program, *command[1:]]
    home = surroundings.home or directory
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in launch],
            cwd=home,
            env={**os.environ, "TMPDIR": str(home), **surroundings.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = RunningProcess(name, log, process.pid)
    try:
        yield server
    finally:
        os.killpg(process.pid, stop_signal)
        wait_for_end(process.pid, STOP_SECONDS)
        # Dead or not, the leader is not reaped yet: no stranger can have got its group id.
        os.killpg(process.pid, signal.SIGKILL)
        for member in members_of(process.pid):
            wait_for_end(member, STOP_SECONDS)
        process.wait()


def run(name: str, command: Sequence[str | Path], directory: Path, surroundings: Surroundings = Surroundings()) -> None:
    """Run a program to its end, with the arguments of :func:`running`.

    Raises:
        ServerFailedError: It failed, or took longer than :data:`START_SECONDS`.
    """
    with running(name, command, directory, surroundings) as program:
        if not wait_for_end(program.pid, START_SECONDS):
            program.fail(f"took longer than {START_SECONDS:g} s")
        end = os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        if end is None or end.si_status != 0:
            program.fail("failed")
