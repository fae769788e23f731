"""Points at which a process can be killed: those of the package, and those between them and the libraries below."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.backends.local.writes import LocalWriter
from litestar_filestore.ledger.points import on_point
from litestar_filestore.ledger.staging import staging_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import SessionTransaction

    from litestar_filestore.core.types import Block

__all__ = ("Trap", "set_traps")


class Trap:
    """Kills the process at one point, and remembers the points that it passed until then."""

    def __init__(self, target: str | None) -> None:
        """Wait for `target`: a point, with ``#2`` for the second time it is reached; ``None`` waits for nothing."""
        self.target = target
        self.trace: list[str] = []
        self._times: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        """Reach `point`."""
        self._times[point] += 1
        label = point if self._times[point] == 1 else f"{point}#{self._times[point]}"
        self.trace.append(label)
        if label == self.target:
            os.kill(os.getpid(), signal.SIGKILL)


def set_traps(trap: Trap, engine: Engine) -> None:
    """Call `trap` at every point, for the rest of this process."""
    on_point(trap)
    _watch_engine(trap, engine)
    _watch_sessions(trap)
    _watch_store(trap)


def _watch_engine(trap: Trap, engine: Engine) -> None:
    def reach(name: str) -> Any:
        return lambda _connection, *_: trap(name)

    event.listen(engine, "commit", reach("commit.before"))
    event.listen(engine, "rollback", reach("rollback.before"))
    event.listen(engine, "release_savepoint", reach("release.before"))
    event.listen(engine, "rollback_savepoint", reach("rollback_to.before"))
    beside = staging_engine(engine)
    assert beside is not None
    event.listen(beside, "commit", reach("staging.commit"))


def _watch_sessions(trap: Trap) -> None:
    def after_commit(session: Session) -> None:
        trap("release.after" if session.in_nested_transaction() else "commit.after")

    def after_flush(_session: Session, _context: object) -> None:
        trap("flush.after")

    def after_end(_session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            trap("transaction.ended")
        elif transaction.nested:
            trap("savepoint.ended")

    event.listen(Session, "after_commit", after_commit)
    event.listen(Session, "after_flush_postexec", after_flush)  # behind the listeners of single sessions
    event.listen(Session, "after_transaction_end", after_end)


def _watch_store(trap: Trap) -> None:
    """Wrap the steps of the local driver's writes and deletes. Its async half runs the same ones in threads."""
    opened, write, publish, delete = LocalWriter.open, LocalWriter.write, LocalWriter.publish, LocalDriver.delete
    begun: WeakSet[LocalWriter] = WeakSet()

    def trapped_open(writer: LocalWriter) -> None:
        opened(writer)
        trap("put.opened")

    def trapped_write(writer: LocalWriter, block: Block) -> None:
        whole = memoryview(block)
        half = len(whole) // 2
        write(writer, whole[:half])
        if writer not in begun:
            begun.add(writer)
            trap("put.half")
        write(writer, whole[half:])

    def trapped_publish(writer: LocalWriter) -> os.stat_result:
        trap("put.complete")
        result = publish(writer)
        trap("put.published")
        return result

    def trapped_delete(driver: LocalDriver, paths: Sequence[str]) -> None:
        for path in paths:
            delete(driver, [path])
            trap("object.deleted")

    # Assigned, not subclassed: what is killed is the driver that everybody uses.
    setattr(LocalWriter, "open", trapped_open)  # noqa: B010
    setattr(LocalWriter, "write", trapped_write)  # noqa: B010
    setattr(LocalWriter, "publish", trapped_publish)  # noqa: B010
    setattr(LocalDriver, "delete", trapped_delete)  # noqa: B010
