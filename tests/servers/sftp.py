"""An SFTP server: asyncssh, one account that sees one directory as its root."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running

__all__ = ("SftpServer", "serve")


@dataclass(frozen=True)
class SftpServer:
    """An SFTP server and its one account. The server's key is a new one at every start."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    root: Path
    """Directory on this machine that clients see as ``/``."""


@contextmanager
def serve(directory: Path) -> Iterator[SftpServer]:
    """Run the server; its files are in ``root`` below `directory`.

    Raises:
        ServerMissingError: The package is not installed.
        ServerFailedError: It does not start.
    """
    find_package("asyncssh", "pip install asyncssh")
    root = directory / "root"
    root.mkdir()
    facts = SftpServer(HOST, free_port(), username="tester", password="public-on-loopback", root=root)
    arguments = [str(root), facts.host, str(facts.port), facts.username, facts.password]
    command = [sys.executable, "-P", "-m", "tests.servers.sftp_app", *arguments]
    with running("sftp", command, directory, Surroundings(environment=TESTS_IMPORTABLE)) as process:
        process.wait_for_port(facts.port)
        yield facts
