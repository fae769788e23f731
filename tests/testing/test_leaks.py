"""The gate that finds what tests leave behind."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

import pytest

from litestar_filestore.testing.leaks import LeakGate, assert_no_tasks


def test_gate_finds_an_open_file(tmp_path: Path) -> None:
    """A file that is left open is named."""
    gate = LeakGate(settle_seconds=0)
    with (tmp_path / "left.txt").open("w"), pytest.raises(AssertionError, match=r"left\.txt"):
        gate.check()
    gate.check()


def test_gate_finds_an_open_socket() -> None:
    """A socket that is left open is told, if sockets count."""
    gate = LeakGate(sockets=True, settle_seconds=0)
    with socket.socket(), pytest.raises(AssertionError, match="socket:"):
        gate.check()


def test_gate_finds_a_temporary_file(tmp_path: Path) -> None:
    """A file that is left in the folder of temporary files is named."""
    gate = LeakGate(tmp_path)
    with tempfile.NamedTemporaryFile(dir=tmp_path, suffix=".left", delete=False) as file:
        pass
    with pytest.raises(AssertionError, match=r"\.left"):
        gate.check()
    Path(file.name).unlink()
    gate.check()


async def test_gate_finds_a_task() -> None:
    """A task that runs on is told, unless it is expected."""
    task = asyncio.create_task(asyncio.Event().wait(), name="left-over")
    with pytest.raises(AssertionError, match="left-over"):
        await assert_no_tasks(settle_seconds=0)
    await assert_no_tasks(expected=[task])
    task.cancel()
    await assert_no_tasks()
