"""Many clients that read slowly: neither threads nor blocks are held for each of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from obstore.store import S3Store

from tests.downloads.content import CONTENT
from tests.downloads.raw import exchange, request_bytes
from tests.downloads.serving import Served, serve
from tests.servers.processes import HOST

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
BYTES_PER_READER = MIB // 5


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def own_server(s3_settings: dict[str, Any], tmp_path: Path) -> Iterator[Served]:
    """A server whose memory nobody else uses."""
    settings = {**s3_settings, "root": str(tmp_path / "files"), "prefix": "slow"}
    with serve("uvicorn", tmp_path, settings) as served:
        yield served


@contextmanager
def _slow_readers(port: int, target: str, count: int) -> Iterator[list[socket.socket]]:
    """Have many clients read the first bytes of an answer, and then nothing."""
    with ExitStack() as stack:
        connections: list[socket.socket] = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            # Before connecting: the window that is offered then stays small.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(60)
            connection.connect((HOST, port))
            connection.sendall(request_bytes("GET", target))
            connections.append(connection)
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        yield connections


@pytest.mark.parametrize("readers", [100, pytest.param(500, marks=pytest.mark.stress)])
def test_slow_readers_of_local_files(own_server: Served, readers: int) -> None:
    """Readers who stand still cost no thread each and little memory, and nobody else has to wait."""
    port, pid = own_server.port, own_server.process.pid
    for _ in range(3):
        exchange(port, "GET", "/local/big")
    memory, threads = _status(pid, "VmRSS"), _status(pid, "Threads")
    with _slow_readers(port, "/local/big", readers) as connections:
        started = time.monotonic()
        assert exchange(port, "GET", "/local/small").body == CONTENT
        assert time.monotonic() - started < 5
        assert (_status(pid, "VmRSS") - memory) * 1024 < 20 * MIB + readers * BYTES_PER_READER
        # The pool that opens files has a fixed size, whoever reads.
        assert _status(pid, "Threads") - threads < 50
        # Each of them goes on as soon as its client does.
        assert connections[0].recv(1 << 16)


@pytest.fixture
def long_object(s3_settings: dict[str, Any]) -> str:
    """Target of an object of 16 MiB in S3: more than is ever read ahead."""
    store = S3Store(
        s3_settings["bucket"],
        endpoint=s3_settings["endpoint"],
        access_key_id=s3_settings["access_key"],
        secret_access_key=s3_settings["secret_key"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    store.put("slow/long", bytes(16 * MIB))
    return "/s3/long/unknown"


@pytest.mark.parametrize("readers", [100, pytest.param(500, marks=pytest.mark.stress)])
def test_slow_readers_of_objects(own_server: Served, long_object: str, readers: int) -> None:
    """What was read ahead for readers who stand still is dropped, and asked for again when they go on."""
    port, pid = own_server.port, own_server.process.pid
    exchange(port, "GET", long_object)
    memory = _status(pid, "VmRSS")
    with _slow_readers(port, long_object, readers) as connections:
        own_server.process.wait_until(
            lambda: (_status(pid, "VmRSS") - memory) * 1024 < 20 * MIB + readers * BYTES_PER_READER
        )
        started = time.monotonic()
        assert exchange(port, "GET", "/s3/small").body == CONTENT
        assert time.monotonic() - started < 5
        received = 0
        while received < 4 * MIB:  # more than sockets hold
            received += len(connections[0].recv(1 << 16))


@pytest.mark.parametrize("gib", [0.25, pytest.param(5, marks=pytest.mark.stress)])
def test_the_whole_of_a_large_file(own_server: Served, tmp_path: Path, gib: float) -> None:
    """A range of all bytes of a large file takes the memory of a few blocks."""
    size = int(gib * 1024 * MIB)
    with (tmp_path / "files" / "sparse").open("wb") as file:
        file.truncate(size)
    port, pid = own_server.port, own_server.process.pid
    exchange(port, "GET", "/local/big")
    memory = _status(pid, "VmHWM")
    with closing(socket.create_connection((HOST, port), timeout=60)) as connection:
        connection.sendall(request_bytes("GET", "/local/sparse/unknown", (("Range", "bytes=0-"),)))
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 206")
        received = len(head.partition(b"\r\n\r\n")[2])
        buffer = bytearray(MIB)
        while count := connection.recv_into(buffer):
            received += count
    assert received == size
    assert (_status(pid, "VmHWM") - memory) * 1024 < 10 * MIB
