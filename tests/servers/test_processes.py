"""How the processes of servers are started, watched and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import azurite, processes
from tests.servers.proc import processes_in
from tests.servers.processes import (
    ServerFailedError,
    ServerMissingError,
    Surroundings,
    find_package,
    find_program,
    free_port,
    missing,
    require,
    run,
    running,
)

pytestmark = pytest.mark.slow

SLEEPER = ["sleep", "600"]

# Both, wherever one is expected: a test that lets the other one through would be skipped instead of failing.
OUTCOMES = (pytest.skip.Exception, pytest.fail.Exception)

STUBBORN = """\
import pathlib, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("stubborn").touch()
while True:
    signal.pause()
"""


def test_free_ports_differ() -> None:
    """No port is given out twice, although nobody listens on it yet."""
    assert len({free_port() for _ in range(200)}) == 200


def test_a_taken_port_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port where somebody listens is not given out."""
    taken, free = free_port(), free_port()
    monkeypatch.setattr(processes, "_PORTS", [taken] * 50 + [free])
    monkeypatch.setattr(processes, "_handed_out", set[int]())
    with socket.create_server((processes.HOST, taken)):
        assert free_port() == free


def test_missing_skips_on_a_developers_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable CI the test is skipped, with the reason."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(OUTCOMES, match="no server") as outcome:
        missing("no server")
    assert outcome.type is pytest.skip.Exception


def test_missing_fails_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable CI the test fails, with the reason."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(OUTCOMES, match="no server") as outcome:
        missing("no server")
    assert outcome.type is pytest.fail.Exception


def test_require_reports_a_server_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not where FILESTORE_AZURITE says counts as missing, not as broken."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("FILESTORE_AZURITE", str(tmp_path / "nowhere"))

    with pytest.raises(OUTCOMES, match="npm install") as outcome, require(azurite.serve, tmp_path):
        pytest.fail("it started")
    assert outcome.type is pytest.fail.Exception


def test_require_does_not_hide_errors_of_the_test(tmp_path: Path) -> None:
    """What the test itself raises is no missing server."""

    @contextmanager
    def serve(directory: Path) -> Iterator[Path]:
        yield directory

    with pytest.raises(ServerMissingError), require(serve, tmp_path):
        raise ServerMissingError


def test_find_program_says_what_to_install() -> None:
    """The error for a program that is not there names the remedy."""
    with pytest.raises(ServerMissingError, match="apt-get install it"):
        find_program("no-such-program", "apt-get install it")


def test_find_package_says_what_to_install() -> None:
    """The error for a package that is not there names the remedy."""
    with pytest.raises(ServerMissingError, match="pip install it"):
        find_package("no_such_package", "pip install it")


def test_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    """When a server dies at its start, the error quotes what it said."""
    server = [sys.executable, "-c", "raise SystemExit('the disk is made of cheese')"]
    with (
        pytest.raises(ServerFailedError, match=r"cheesy ended.*\n.*made of cheese"),
        running("cheesy", server, tmp_path) as process,
    ):
        process.wait_for_port(free_port())


def test_a_server_that_does_not_answer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs but does not listen is given up after the time limit."""
    monkeypatch.setattr(processes, "START_SECONDS", 0.1)
    with pytest.raises(ServerFailedError, match="did not answer"), running("deaf", SLEEPER, tmp_path) as process:
        process.wait_for_port(free_port())


def test_a_command_that_fails_shows_its_log(tmp_path: Path) -> None:
    """When a command fails, the error quotes what it said."""
    with pytest.raises(ServerFailedError, match=r"lister failed.*\n.*nowhere"):
        run("lister", ["ls", "/nowhere"], tmp_path)


def test_a_command_that_takes_too_long_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end is ended, and gives an error."""
    monkeypatch.setattr(processes, "START_SECONDS", 0.1)
    with pytest.raises(ServerFailedError, match="took longer"):
        run("slow", SLEEPER, tmp_path)

    assert processes_in(tmp_path) == []


def test_a_server_that_ignores_the_stop_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time to stop in order, the rest is killed."""
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
    server = [sys.executable, "-c", STUBBORN]
    with running("stubborn", server, tmp_path, stop_signal=signal.SIGTERM) as process:
        process.wait_until((tmp_path / "stubborn").exists)

    assert processes_in(tmp_path) == []


def test_children_of_a_server_are_ended_with_it(tmp_path: Path) -> None:
    """A process that the server has started does not outlive it, not even if it ignores the stop signal."""
    server = ["sh", "-c", "(trap '' TERM; touch started; exec sleep 600) & wait"]
    with running("parent", server, tmp_path, stop_signal=signal.SIGTERM) as process:
        process.wait_until((tmp_path / "started").exists)
        children = [child for child in processes_in(tmp_path) if child != process.pid]

    assert children
    assert not set(children) & set(processes_in(tmp_path))


def test_a_program_runs_as_the_owner_asked_for(tmp_path: Path) -> None:
    """As root, a program can be run as somebody else, with nothing of root's rights left."""
    if os.geteuid() != 0:
        pytest.skip("only root can choose")
    run("who", ["id"], tmp_path, Surroundings(owner=(65534, 65534)))

    assert (tmp_path / "who.log").read_text().startswith("uid=65534")
    assert "root" not in (tmp_path / "who.log").read_text()


def test_the_launcher_does_not_start_for_a_dead_parent(tmp_path: Path) -> None:
    """When the test run dies before its death could be watched, the server is not started at all."""
    launcher = Path(processes.__file__).with_name("launcher.py")
    stranger, owner = str(os.getppid()), [str(os.geteuid()), str(os.getegid())]
    result = subprocess.run(
        [
            sys.executable,
            launcher,
            stranger,
            str(int(signal.SIGKILL)),
            *owner,
            "--",
            "/usr/bin/touch",
            tmp_path / "started",
        ],
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert result.returncode != 0
    assert not (tmp_path / "started").exists()
