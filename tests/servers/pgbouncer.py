"""PgBouncer in front of PostgreSQL, in transaction mode: each transaction may be on another connection."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.processes import HOST, find_program, free_port, running

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

__all__ = ("OPTIONS", "SERVER_CONNECTIONS", "serve")

SERVER_CONNECTIONS = 4
"""How many connections to PostgreSQL all clients share: fewer than there are clients."""

OPTIONS: dict[str, dict[str, Any]] = {
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid.uuid4()}__",
    },
    "psycopg": {"prepare_threshold": None},
}
"""What each driver needs, as it has to stand on the page on large installations."""

# It lets everybody in, like PostgreSQL in these tests, and is one user there.
_CONFIGURATION = """
[databases]
* = host={host} port={postgres} user={username}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
server_lifetime = 1
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def serve(directory: Path, server: PostgresServer) -> Iterator[PostgresServer]:
    """Run PgBouncer in `directory`, and yield `server` as it is seen through it.

    Raises:
        ServerMissingError: It is not installed.
        ServerFailedError: It does not start.
    """
    program = find_program("pgbouncer", "apt-get install pgbouncer")
    port = free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(
            host=HOST, postgres=server.port, username=server.username, port=port, connections=SERVER_CONNECTIONS
        ),
        encoding="utf-8",
    )
    # It refuses to run as root, and takes another user once it has read its configuration.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running("pgbouncer", [program, *user, configuration], directory) as process:
        process.wait_for_port(port)
        yield replace(server, port=port)
