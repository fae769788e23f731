"""MariaDB, from Debian's package, with a data directory of its own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.servers.processes import HOST, Surroundings, find_package, find_program, free_port, run, running

if TYPE_CHECKING:
    import pymysql

__all__ = ("MariadbServer", "serve")

INSTALL = "apt-get install mariadb-server"

USERNAME = "root"

SETTINGS = {
    "bind-address": HOST,
    "socket": "server.sock",  # relative to the data directory: the whole path could be too long for a socket
    "pid-file": "server.pid",
    "max-connections": "300",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "32M",
    # Tests do not cut the power.
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "OFF",
    "innodb-flush-method": "nosync",
    "innodb-file-per-table": "OFF",  # a file for each table costs most of the time in which a test makes its tables
    "debug-no-sync": "ON",
    # As everywhere else in the tests: an hour that a change to winter time repeats must not matter.
    "default-time-zone": "+00:00",
}


@dataclass(frozen=True)
class MariadbServer:
    """A database server that takes everybody for its superuser."""

    port: int
    host: str = HOST
    username: str = USERNAME

    def url(self, driver: Literal["pymysql", "aiomysql"], database: str = "mysql") -> str:
        """Build a URL for SQLAlchemy."""
        return f"mariadb+{driver}://{self.username}@{self.host}:{self.port}/{database}?charset=utf8mb4"

    def create_database(self, name: str) -> None:
        """Create an empty database; `name` is made of letters, digits and underscores.

        Raises:
            pymysql.err.ProgrammingError: The name is taken.
        """
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def answers(self) -> bool:
        """Whether the server takes queries."""
        import pymysql

        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _connect(self) -> pymysql.Connection[Any]:
        import pymysql

        return pymysql.connect(host=self.host, port=self.port, user=self.username, connect_timeout=5)


@contextmanager
def serve(directory: Path) -> Iterator[MariadbServer]:
    """Run a new server in `directory`.

    Raises:
        ServerMissingError: There is no MariaDB, or no driver for it.
        ServerFailedError: It does not start.
    """
    find_package("pymysql", "pip install pymysql")
    install = find_program("mariadb-install-db", INSTALL)
    program = find_program("mariadbd", INSTALL)
    data = directory / "data"
    surroundings = Surroundings(directory, {"LC_ALL": "C.UTF-8", "TZ": "UTC"})
    # Named also where it is the current one: the server runs as root only if it is told to.
    user = f"--user={pwd.getpwuid(os.geteuid()).pw_name}"
    options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    run("mariadb-install-db", [install, "--no-defaults", user, f"--datadir={data}", *options], directory, surroundings)
    server = MariadbServer(free_port())
    settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": server.port}.items()]
    with running(
        "mariadbd", [program, "--no-defaults", user, f"--datadir={data}", *settings], directory, surroundings
    ) as process:
        process.wait_until(server.answers)
        yield server
