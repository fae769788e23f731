"""A WebDAV server: wsgidav on cheroot, one account with a password."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running

__all__ = ("WebdavServer", "serve")


@dataclass(frozen=True)
class WebdavServer:
    """A WebDAV server and its one account, by HTTP basic authentication."""

    url: str
    """URL of the root collection, without a trailing slash."""
    username: str
    password: str = field(repr=False)
    root: Path
    """Directory on this machine that clients see as ``/``."""


@contextmanager
def serve(directory: Path) -> Iterator[WebdavServer]:
    """Run the server; its files are in ``root`` below `directory`.

    Raises:
        ServerMissingError: A package is not installed.
        ServerFailedError: It does not start.
    """
    for package in ("wsgidav", "cheroot"):
        find_package(package, "pip install wsgidav cheroot")
    root = directory / "root"
    root.mkdir()
    port = free_port()
    facts = WebdavServer(f"http://{HOST}:{port}", username="tester", password="public-on-loopback", root=root)
    arguments = [str(root), HOST, str(port), facts.username, facts.password]
    command = [sys.executable, "-P", "-m", "tests.servers.webdav_app", *arguments]
    with running("webdav", command, directory, Surroundings(environment=TESTS_IMPORTABLE)) as process:
        process.wait_for_port(port)
        yield facts
