"""nginx, in front of an application."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import HOST, find_program, free_port, running

__all__ = ("serve",)

_CONFIGURATION = """
daemon off;
{user}worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{ }}
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port};
{server}
    }}
}}
"""


@contextmanager
def serve(directory: Path, server: str) -> Iterator[int]:
    """Run nginx in `directory` with the inside of one ``server`` block, and yield its port.

    Raises:
        ServerMissingError: It is not installed.
        ServerFailedError: It does not start.
    """
    program = find_program("nginx", "apt-get install nginx")
    port = free_port()
    # Files of the tests lie in folders of the user who runs them.
    user = "user root;\n" if Path.home() == Path("/root") else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(user=user, directory=directory, host=HOST, port=port, server=server), encoding="utf-8"
    )
    # Its children end with it on SIGTERM; SIGKILL would leave them.
    with running(
        "nginx",
        [program, "-e", "stderr", "-p", directory, "-c", configuration],
        directory,
        stop_signal=signal.SIGTERM,
        orphan_signal=signal.SIGTERM,
    ) as process:
        process.wait_for_port(port)
        yield port
