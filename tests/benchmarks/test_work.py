"""The driver talks to real servers, measures them, and notices when other bytes come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS
from benchmarks.servers import serve
from benchmarks.work import Content, Work, WrongAnswerError

if TYPE_CHECKING:
    from pathlib import Path


def test_content_notices_other_bytes() -> None:
    """One byte more, one less or another one is an error; the pieces may be cut anywhere."""
    whole = b"".join(Content(3_000_000).pieces())
    same = Content(3_000_000)
    for start in range(0, len(whole), 700_000):
        same.compare(memoryview(whole)[start : start + 700_000])
    same.finish()
    part = Content(1000, 2_097_000)
    part.compare(memoryview(whole)[2_097_000:2_098_000])
    part.finish()
    with pytest.raises(WrongAnswerError, match=r"2,999,999 bytes came back, 3,000,000 were stored"):
        changed(whole[:-1])
    with pytest.raises(WrongAnswerError, match="other bytes"):
        changed(bytes([whole[0] ^ 1]) + whole[1:])


def changed(content: bytes) -> None:
    """Compare with what 3,000,000 bytes should be."""
    expected = Content(3_000_000)
    expected.compare(memoryview(content))
    expected.finish()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raw ASGI", "aiohttp", "Litestar, row", "Advanced Alchemy, obstore", "ours"])
def test_contenders_are_checked_and_measured(name: str, tmp_path: Path) -> None:
    """Each stores a file and gives it back, and its server's costs are seen from outside."""
    contender = CONTENDERS[name]
    with serve(contender, tmp_path / "served", {}) as server:
        for action in ("upload", "download"):
            sample = Work(Case(action, action, 2 * 1024**2, (name,), requests=3), contender, server).measure()
            assert (sample.requests, len(sample.latencies), sample.failures) == (3, 3, 0)
            assert sample.cpu_seconds > 0
            assert (sample.written_bytes >= 3 * sample.size) >= (action == "upload")
        assert len(server.large_files()) <= 2
