"""What the ledger costs a transaction, and what sharing one saves: ``python -m benchmarks.ledger``.

Contents are 100 bytes in memory, so that nothing but the database is measured. The column to read is `ratio`: time over
that of the first line of the table, in the same round. ``python -m benchmarks.ledger_sizes`` measures sweep and fsck.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from benchmarks.ledger_places import BACKEND, DATABASES, LEDGER, Document, Loose, async_url, serve_database
from benchmarks.rounds import Contender, compare
from litestar_filestore import FileObject, MemoryBackend, storages
from litestar_filestore.ledger.intents import Intents
from litestar_filestore.ledger.ledger import Facts, Ledger, ObjectKey
from litestar_filestore.ledger.staging import staging_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from benchmarks.rounds import Score

__all__ = ("main",)

_CONTENT = bytes(100)
_UPLOADS = 32
_numbers = itertools.count()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit status 0: times are read, not judged."""
    options = _parse(arguments)
    storages.register_backend(MemoryBackend(BACKEND))
    for name in options.database or DATABASES:
        with serve_database(name) as url:
            engine = sa.create_engine(url)
            _print(
                f"add and commit, {name}",
                compare(_transactions(engine), rounds=options.rounds, count=options.operations),
            )
            with asyncio.Runner() as loop:
                async_engine = create_async_engine(async_url(url), pool_size=_UPLOADS)
                scores = compare(_uploads(async_engine, loop), rounds=options.rounds, count=3)
                _print(f"{_UPLOADS} uploads at once, {name}", scores)
                loop.run(async_engine.dispose())
            engine.dispose()
    return 0


def _transactions(engine: Engine) -> list[Contender]:
    """Return ways to write one row, and the intent alone."""

    def write(count: int, model: type[Document | Loose], content: bytes | None) -> None:
        for _ in range(count):
            with Session(engine) as session:
                file = None if content is None else FileObject(BACKEND, "a.txt", content=content)
                session.add(model(file=file))
                session.commit()

    def intend(count: int) -> None:
        beside = staging_engine(engine) or engine
        for _ in range(count):
            with beside.begin() as connection:
                Ledger(LEDGER).stage(connection, [_new_key()])

    return [
        Contender("row without a file", lambda count: write(count, Document, None)),
        Contender("row with a file, no ledger", lambda count: write(count, Loose, _CONTENT)),
        Contender("row with a file, ledger", lambda count: write(count, Document, _CONTENT)),
        Contender("intent alone", intend),
    ]


def _uploads(engine: AsyncEngine, loop: asyncio.Runner) -> list[Contender]:
    """Return ways to note 32 uploads that come at once: intent, and what was written."""

    async def one(intents: Intents) -> None:
        key = _new_key()
        await intents.stage(key)
        await intents.record(key, Facts(len(_CONTENT), None))

    async def together(*, shared: bool) -> None:
        common = Intents(engine, LEDGER)
        await asyncio.gather(*(one(common if shared else Intents(engine, LEDGER)) for _ in range(_UPLOADS)))

    def run(count: int, *, shared: bool) -> None:
        for _ in range(count):
            loop.run(together(shared=shared))

    return [
        Contender("a transaction for each step", lambda count: run(count, shared=False)),
        Contender("shared transactions", lambda count: run(count, shared=True)),
    ]


def _new_key() -> ObjectKey:
    return ObjectKey(BACKEND, f"upload/{next(_numbers)}")


def _print(title: str, scores: Sequence[Score]) -> None:
    sys.stdout.write(f"\n{title:<38}{'ratio':>8}{'ms':>10}\n")
    for score in scores:
        sys.stdout.write(f"  {score.name:<36}{score.ratio:>8.2f}{score.seconds * 1e3:>10.3f}\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--operations", type=int, default=40, help="transactions timed together")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
