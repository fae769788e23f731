"""A process that adds rows, forks, and adds rows in both processes; run as a program, since it has no other threads."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore.ledger.staging import staging_engine
from tests.ledger.models import Document, a_file
from tests.ledger.world import World

__all__ = ()

CHILD_SECONDS = 30
"""A child that hangs is killed after so long."""


def add(engine: sa.Engine, number: int) -> None:
    """Add a row with a file, whose intent is written beside the session."""
    with Session(engine) as session:
        session.add(Document(id=number, file=a_file(str(number))))
        session.commit()


def connection_beside(engine: sa.Engine) -> int:
    """Return which of the server's processes answers to the connection of intents."""
    beside = staging_engine(engine)
    assert beside is not None
    with beside.connect() as connection:
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())


def main() -> None:
    """Fork between two rows; the child disposes the application's engine, before or after it looks at ours."""
    url, root, order = sys.argv[1:]
    engine = sa.create_engine(url)
    World(engine, Path(root))
    add(engine, 1)
    mine = connection_beside(engine)
    child = os.fork()
    if not child:
        signal.alarm(CHILD_SECONDS)
        try:
            if order == "dispose":
                engine.dispose(close=False)
            assert connection_beside(engine) != mine, "the parent's connection"
            engine.dispose(close=False)
            add(engine, 2)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test looks at it
            print("child:", type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert connection_beside(engine) == mine
    add(engine, 3)
    print("status:", status, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
