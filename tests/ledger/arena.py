"""A place per database driver where one process after the other is started, killed, and looked after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event

from tests.ledger.child import ALIVE, Order, alive_names, connect
from tests.ledger.models import Base
from tests.ledger.places import sync_url
from tests.ledger.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.matrix import Driver

__all__ = ("Arena", "ForkServer", "fork_server")


class ForkServer:
    """Starts a process per order, and waits for its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, order: Order) -> int:
        """Return the exit code of the process, negative for the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the fork server has ended"
        return int(answer)


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    """Run a server for the time of the context."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield ForkServer(process)  # it ends with its input


class Arena:
    """One database driver with a database that each case finds as `World.seed` makes it."""

    def __init__(self, driver: Driver, url: str, server: ForkServer, directory: Path) -> None:
        """Use the database behind `url`, for SQLite a path without a file, and files in `directory`."""
        self._driver = driver
        self._server = server
        self._directory = directory
        self._url = url
        sync = sync_url(url)
        self.engine = sa.create_engine(sync, poolclass=sa.NullPool if "sqlite" in url else None)
        if "sqlite" in url:
            event.listen(self.engine, "connect", connect)
        self.world = World(self.engine, directory / "store")

    def reset(self) -> None:
        """Begin anew: the rows of the seed, and nothing else."""
        self.world.register()
        for path in self.world.root.glob("*"):
            shutil.rmtree(path)
        if self.engine.dialect.name == "sqlite":
            for name in self._directory.glob("test.db*"):
                name.unlink()
        else:
            Base.metadata.drop_all(self.engine)
        self.world.create()
        self.world.seed()

    def run(self, operation: str, target: str | None, *, sabotage: str | None = None) -> int:
        """Run an operation in a process of its own and return its exit code when the database has noticed its end."""
        order = Order(
            url=self._url,
            root=str(self.world.root),
            operation=operation,
            target=target,
            trace=str(self._directory / "trace.json"),
            log=str(self._directory / "stderr.txt"),
            sabotage=sabotage,
        )
        code = self._server.run(order)
        self._wait_for_connections_to_end()
        return code

    def _wait_for_connections_to_end(self) -> None:
        # A server finds out about a killed client by itself, and keeps its row locks until then.
        if self.engine.dialect.name == "postgresql":
            with self.engine.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({ALIVE})")
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({ALIVE})")
        elif self.engine.dialect.name == "mariadb":
            with self.engine.connect() as connection:
                for name in alive_names():
                    assert connection.exec_driver_sql(f"SELECT GET_LOCK('{name}', 60)").scalar() == 1
                connection.exec_driver_sql("SELECT RELEASE_ALL_LOCKS()")

    @property
    def log(self) -> str:
        """What the last process wrote to standard error."""
        return (self._directory / "stderr.txt").read_text(encoding="utf-8")

    @property
    def trace(self) -> list[str]:
        """The points that the last process passed, if it came to its end."""
        found: list[str] = json.loads((self._directory / "trace.json").read_text(encoding="utf-8"))
        return found

    def close(self) -> None:
        """Close all connections."""
        self.world.close()
        self.engine.dispose()
