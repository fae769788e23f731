"""One client that opens many uploads and sends to all of them at a time: others are not kept from theirs."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa

from tests.servers.processes import HOST, RunningProcess
from tests.tus.conftest import OFFSET_TYPE
from tests.tus.servers import serving
from tests.tus.stores import describe_local
from tests.tus.tus_app import PATH, Base

MIB = 1024 * 1024
ONE, OTHER = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
"""What a proxy on this host says of its clients; the server believes it."""


def memory_of(process: RunningProcess) -> int:
    """Return what a process has in memory, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+([0-9]+) kB", status)[0]) * 1024


def descriptors_of(process: RunningProcess) -> int:
    """Return how many descriptors a process has."""
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def begin(port: int, url: str) -> socket.socket:
    """Announce a mebibyte, send the first kilobyte, and return the open connection."""
    wire = socket.create_connection((HOST, port), timeout=60)
    head = (
        f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: {HOST}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"X-Forwarded-For: {ONE['X-Forwarded-For']}\r\nContent-Type: {OFFSET_TYPE}\r\nContent-Length: {MIB}\r\n\r\n"
    )
    wire.sendall(head.encode() + bytes(1000))
    return wire


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[int, RunningProcess]]:
    """The application, which does not limit an owner's open uploads."""
    engine = sa.create_engine(database := f"sqlite:///{tmp_path / 'rows.db'}", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    with serving(tmp_path, describe_local(tmp_path), database, max_open=10_000) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("uploads", [200, pytest.param(1000, marks=pytest.mark.stress)])
def test_open_uploads_of_one_client(place: tuple[int, RunningProcess], uploads: int) -> None:
    """They keep neither memory nor descriptors; of those that send, most are asked to come back; others get through."""
    port, process = place
    tus, url = {"Tus-Resumable": "1.0.0"}, f"http://{HOST}:{port}{PATH}"
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(headers={**tus, **ONE}, timeout=60, trust_env=False))
        made = [client.post(url, headers={"Upload-Length": str(MIB)}).headers["location"] for _ in range(20)]
        memory, descriptors = memory_of(process), descriptors_of(process)
        made += [client.post(url, headers={"Upload-Length": str(MIB)}).headers["location"] for _ in range(uploads - 20)]
        assert descriptors_of(process) == descriptors
        wires = [stack.enter_context(closing(begin(port, each))) for each in made]
        refused = [wire for wire in wires[-5:] if wire.recv(12) == b"HTTP/1.1 503"]
        assert len(refused) == 5
        other = stack.enter_context(httpx.Client(headers={**tus, **OTHER}, timeout=60, trust_env=False))
        theirs = other.post(url, headers={"Upload-Length": str(MIB)}).headers["location"]
        said = {"Upload-Offset": "0", "Content-Type": OFFSET_TYPE}
        assert other.patch(theirs, headers=said, content=bytes(MIB)).status_code == 204
        assert memory_of(process) - memory < 64 * MIB
    # What stays are connections to the database, which are kept for the next requests.
    process.wait_until(lambda: descriptors_of(process) <= descriptors + 50)
