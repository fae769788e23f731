"""What uploads through a server cost: ``python -m benchmarks.uploads``.

One long file on one connection, and many slow ones at a time. The server is a process of its own that stores in a local
folder; its growth is the peak of its resident memory less what it had before. Exits with 1 if it grew too far.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from litestar.status_codes import HTTP_200_OK

from tests.uploads.multipart_bodies import END, Piece, body_of, part_of
from tests.uploads.sockets import SERVERS, Running, head_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("Upload", "main", "measure_long", "measure_slow")

KIB = 1024
MIB = 1024 * 1024
_ROUNDS = 5
_ROUND_BYTES = 80 * KIB


class Upload(NamedTuple):
    """The outcome of one measurement."""

    growth_bytes: int
    """Peak of resident memory less what was resident before."""
    seconds: float
    """From the first byte to the last answer."""


def measure_long(server: Running, total: int) -> Upload:
    """Upload one file of `total` bytes in a form.

    Raises:
        RuntimeError: If it is not taken.
    """
    opening, _, closing = part_of(Piece("big", b"@", "a.bin")).partition(b"@")
    closing += END
    block = bytes(MIB)
    with _measured(server) as outcome:
        head = head_of(length=len(opening) + total + len(closing))
        with server.connect() as wire:
            blocks = (block[: min(MIB, total - start)] for start in range(0, total, MIB))
            status = wire.send_until_answered(chain([head, opening], blocks, [closing]))
        if status != HTTP_200_OK:
            raise RuntimeError(f"The upload was answered {status}")
    return outcome[0]


def measure_slow(server: Running, count: int) -> Upload:
    """Upload from `count` clients at a time; none goes on before the server has written what all have sent.

    Raises:
        RuntimeError: If one is not taken.
    """
    body = body_of(Piece("big", bytes(_ROUND_BYTES * _ROUNDS), "a.bin"))
    with _measured(server) as outcome, ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(count)]
        for wire in wires:
            wire.socket.sendall(head_of(length=len(body)))
        for number in range(_ROUNDS):
            for wire in wires:
                wire.socket.sendall(body[number * _ROUND_BYTES : (number + 1) * _ROUND_BYTES])
            # The last kilobytes of a round may still be in a block.
            written = count * (number * _ROUND_BYTES + _ROUND_BYTES // 2)
            server.process.wait_until(lambda written=written: sum(server.unfinished()) >= written)  # type: ignore[misc]
        for wire in wires:
            wire.socket.sendall(body[_ROUND_BYTES * _ROUNDS :])
        statuses = {wire.status() for wire in wires}
        if statuses != {HTTP_200_OK}:
            raise RuntimeError(f"The uploads were answered {statuses}")
    return outcome[0]


@contextmanager
def _measured(server: Running) -> Iterator[list[Upload]]:
    """Yield a list that holds the outcome in the end."""
    outcome: list[Upload] = []
    before = server.memory_bytes("VmRSS")
    server.forget_peak()
    start = time.perf_counter()
    yield outcome
    seconds = time.perf_counter() - start
    outcome.append(Upload(max(0, server.memory_bytes("VmHWM") - before), seconds))
    server.wait_until_idle()


@contextmanager
def _served(name: str, clients: int) -> Iterator[Running]:
    """Serve, and take one upload: libraries and threads belong to none."""
    with (
        TemporaryDirectory(prefix="filestore-bench-") as folder,
        serving(name, Path(folder), max_uploads=max(clients, 32)) as server,
    ):
        body = body_of(Piece("big", bytes(8 * MIB), "a.bin"))
        server.ask(head_of(length=len(body)), body)
        server.wait_until_idle()
        yield server


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return the exit status."""
    options = _parse(arguments)
    too_much = False
    sys.stdout.write(f"{'server':<10}{'upload':<28}{'growth MiB':>11}{'limit':>7}{'MiB/s':>8}\n")
    for name in options.server or SERVERS:
        with _served(name, options.clients) as server:
            rows = [
                (f"one of {options.mib} MiB", options.limit_mib, options.mib, measure_long(server, options.mib * MIB))
            ]
            if options.clients:
                size = options.clients * _ROUNDS * _ROUND_BYTES // MIB
                slow = measure_slow(server, options.clients)
                rows.append((f"{options.clients} slow ones", options.clients_limit_mib, size, slow))
        for title, limit, size, outcome in rows:
            bad = outcome.growth_bytes >= limit * MIB
            too_much = too_much or bad
            sys.stdout.write(
                f"{name:<10}{title:<28}{outcome.growth_bytes / MIB:>11.1f}{limit:>7}{size / outcome.seconds:>8.0f}"
                f"{'  too much' if bad else ''}\n"
            )
            sys.stdout.flush()
    return int(too_much)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__)
    parser.add_argument("--mib", type=int, default=5 * 1024, help="size of the long file (5120)")
    parser.add_argument("--limit-mib", type=int, default=16, help="growth that is too much for it (16)")
    parser.add_argument("--clients", type=int, default=200, help="slow uploads at a time (200)")
    parser.add_argument("--clients-limit-mib", type=int, default=64, help="growth that is too much for them (64)")
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="only this one; may be repeated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
