"""Bodies: whole, empty, of objects without a row, and of objects that are not what their row says."""

from __future__ import annotations

import socket
from contextlib import closing
from urllib.parse import unquote

import pytest

from tests.downloads.content import BIG_BYTES, CONTENT, SIZE, big
from tests.downloads.raw import exchange, request_bytes
from tests.downloads.serving import Served
from tests.servers.processes import HOST

pytestmark = pytest.mark.matrix(cases=2)


@pytest.mark.slow
@pytest.mark.matrix(cases=1)
def test_large_objects(server: Served, backend: str) -> None:
    """Every byte of an object of several blocks arrives, in order."""
    answer = exchange(server.port, "GET", f"/{backend}/big")
    assert (answer.status, answer.length) == (200, BIG_BYTES)
    assert answer.body == big()


def test_ranges_across_blocks(server: Served, backend: str) -> None:
    """A range that begins and ends in the midst of blocks is cut exactly."""
    start, end = 262_143, BIG_BYTES - 17
    answer = exchange(server.port, "GET", f"/{backend}/big", ("Range", f"bytes={start}-{end - 1}"))
    assert answer.status == 206
    assert answer.body == big()[start:end]


def test_empty_objects(server: Served, backend: str) -> None:
    """An empty file is an empty 200, whatever range is asked for."""
    for headers in ((), (("Range", "bytes=0-"),), (("Range", "bytes=-1"),)):
        answer = exchange(server.port, "GET", f"/{backend}/empty", *headers)
        assert (answer.status, answer.length, answer.body) == (200, 0, b"")
        assert answer.headers["etag"]


def test_objects_without_a_row(server: Served, backend: str) -> None:
    """An object is sent by backend and key alone: its size and tag come from the store, its type from nowhere."""
    answer = exchange(server.port, "GET", f"/{backend}/small/unknown", ("Range", "bytes=-8"))
    assert answer.status == 206
    assert answer.body == CONTENT[-8:]
    assert answer.headers["content-range"] == f"bytes 992-999/{SIZE}"
    assert answer.headers["content-type"] == "application/octet-stream"
    name = answer.headers["content-disposition"].rpartition("filename*=UTF-8''")[2]
    assert unquote(name) == "Übersicht „2026“.txt"
    again = exchange(server.port, "GET", f"/{backend}/small/unknown", ("If-None-Match", answer.headers["etag"]))
    assert again.status == 304
    assert again.headers["last-modified"] == answer.headers["last-modified"]


def test_missing_objects(server: Served, backend: str) -> None:
    """An object that is gone is a 404, in the application's format, before anything of it was promised."""
    answer = exchange(server.port, "GET", f"/{backend}/small/gone")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert "content-disposition" not in answer.headers
    assert "etag" not in answer.headers


def test_shorter_objects_break_the_connection(server: Served, backend: str) -> None:
    """An object that ends early ends the connection: the client sees that bytes are missing."""
    answer = exchange(server.port, "GET", f"/{backend}/big/longer-row", ("Range", "bytes=1-"))
    if answer.status != 206:  # the store refused the range before anything was sent
        assert answer.status == 503
        return
    assert answer.length == BIG_BYTES
    assert len(answer.body) < answer.length
    assert big()[1:].startswith(answer.body)


def test_shorter_whole_objects(server: Served, backend: str) -> None:
    """Without a range it is the same, or is found out before: never a full answer."""
    answer = exchange(server.port, "GET", f"/{backend}/big/longer-row")
    if answer.status == 503:
        assert b"replaced meanwhile" in answer.body
        return
    assert answer.length == BIG_BYTES + 1
    assert len(answer.body) < answer.length


def test_the_server_lives_on_after_clients_leave(server: Served, backend: str) -> None:
    """Clients that hang up in the midst of a file leave nothing behind that keeps the next from its answer."""
    for _ in range(20):
        with closing(socket.create_connection((HOST, server.port), timeout=20)) as connection:
            connection.sendall(request_bytes("GET", f"/{backend}/big"))
            assert connection.recv(1000)
    assert exchange(server.port, "GET", f"/{backend}/small").body == CONTENT


HOSTILE = [
    pytest.param("bytes=" + ",".join(["0-0"] * 1000), id="1,000 times the first byte"),
    pytest.param("bytes=" + ",".join(f"{n}-{n}" for n in range(8000)), id="8,000 ranges"),
    pytest.param("bytes=" + "0-," * 10_000, id="10,000 times all"),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_many_ranges(server: Served, backend: str, value: str) -> None:
    """More ranges than anybody needs are answered by the object, once."""
    answer = exchange(server.port, "GET", f"/{backend}/small", ("Range", value))
    assert answer.status in {200, 431, 400}
    if answer.status == 200:
        assert answer.body == CONTENT


def test_a_range_header_of_a_megabyte(server: Served) -> None:
    """A header of a megabyte is refused by the server or ignored, and the next request is answered."""
    value = "bytes=" + ",".join(["0-0"] * 250_000)
    with closing(socket.create_connection((HOST, server.port), timeout=20)) as connection:
        try:
            connection.sendall(request_bytes("GET", "/memory/small", (("Range", value),)))
            status = connection.recv(4096).split(b" ")[1:2]
        except OSError:  # the server hung up while the header was still on its way
            status = []
    assert status in ([], [b"200"], [b"400"], [b"431"])
    assert exchange(server.port, "GET", "/memory/small").body == CONTENT
