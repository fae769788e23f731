"""moto: an S3 server in Python that needs no more than pip.

It accepts every signature, key and expiry, so it proves nothing about authorisation; :mod:`tests.servers.ceph` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import HOST, find_package, free_port, running
from tests.servers.s3 import S3Server

__all__ = ("serve",)


@contextmanager
def serve(directory: Path) -> Iterator[S3Server]:
    """Run the server, empty, in `directory`.

    Raises:
        ServerMissingError: The package is not installed.
        ServerFailedError: It does not start.
    """
    for package in ("moto", "flask"):
        find_package(package, "pip install 'moto[server,s3]'")
    port = free_port()
    # -P: the working directory is no place to import from.
    command = [sys.executable, "-P", "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with running("moto", command, directory) as process:
        process.wait_for_port(port)
        yield S3Server(f"http://{HOST}:{port}", access_key="anybody", secret_key="anything")
