"""Lighttpd, in front of an application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import HOST, find_program, free_port, running

__all__ = ("serve",)


@contextmanager
def serve(directory: Path, configuration: str) -> Iterator[int]:
    """Run Lighttpd in `directory` with a configuration that lacks address and folders, and yield its port.

    Raises:
        ServerMissingError: It is not installed.
        ServerFailedError: It does not start.
    """
    program = find_program("lighttpd", "apt-get install lighttpd")
    port = free_port()
    lines = (
        f'server.bind = "{HOST}"',
        f"server.port = {port}",
        f'server.document-root = "{directory}"',
        configuration,
    )
    path = directory / "lighttpd.conf"
    path.write_text("\n".join(lines), encoding="utf-8")
    with running("lighttpd", [program, "-D", "-f", path], directory) as process:
        process.wait_for_port(port)
        yield port
