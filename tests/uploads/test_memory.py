"""What uploads cost in memory: little, however long they are and however many. The benchmark measures it at length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import uploads
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.sockets import Running, head_of, serving

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server that has taken an upload before: libraries and threads belong to none."""
    with serving("uvicorn", tmp_path, max_uploads=256) as server:
        body = body_of(Piece("big", b"x" * 8 * MIB, "a.bin"))
        assert server.ask(head_of(length=len(body)), body) == 200
        server.wait_until_idle()
        yield server


def test_long_file_passes_in_little_memory(server: Running) -> None:
    """A file of 160 MiB makes the process grow by less than 16 MiB."""
    assert uploads.measure_long(server, 160 * MIB).growth_bytes < 16 * MIB


def test_many_slow_uploads_need_little_memory(server: Running) -> None:
    """200 clients that send a little now and then make the process grow by less than 64 MiB together."""
    assert uploads.measure_slow(server, 200).growth_bytes < 64 * MIB


def test_long_text_is_not_taken_into_memory(server: Running) -> None:
    """A text field of 100 MB makes the process grow by less than 8 MiB."""
    body = body_of(Piece("text", b"x" * 100_000_000))
    before = server.memory_bytes("VmRSS")
    server.forget_peak()
    assert server.ask(head_of(length=len(body)), body) == 413
    assert server.memory_bytes("VmHWM") - before < 8 * MIB


def test_benchmark_says_what_is_too_much(capfd: pytest.CaptureFixture[str]) -> None:
    """A growth at the limit is marked, and the exit status says so."""
    assert uploads.main(["--server", "uvicorn", "--mib", "8", "--limit-mib", "0", "--clients", "0"]) == 1
    assert capfd.readouterr().out.count("too much") == 1
