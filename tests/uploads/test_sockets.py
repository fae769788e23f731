"""Hostile, broken and unlucky clients on bare sockets, against real servers.

After each of them the server answers others, and nothing is left of the request.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.uploads.multipart_bodies import BOUNDARY, Piece, body_of
from tests.uploads.sockets import SERVERS, Running, head_of, serving

KIB = 1024
MIB = 1024 * 1024
LIMITS = {"idle_seconds": 1.0, "max_uploads": 64, "max_total_bytes": 100 * MIB}


@pytest.fixture(scope="module", params=SERVERS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for all tests of this module."""
    with serving(request.param, tmp_path_factory.mktemp(request.param), **LIMITS) as server:
        yield server


@pytest.fixture
def server(shared: Running) -> Iterator[Running]:
    """The server, which forgets each request."""
    yield shared
    shared.wait_until_idle()


def chunked(*pieces: bytes) -> bytes:
    """Write a body in chunks (RFC 9112 section 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces if each) + b"0\r\n\r\n"


def test_form_is_taken(server: Running) -> None:
    """A good form is answered 200, by each server."""
    body = body_of(Piece("file", b"x" * MIB, "a.bin"))
    assert server.ask(head_of(length=len(body)), body) == 200


def test_form_in_chunks_of_one_byte_is_taken(server: Running) -> None:
    """A form without a length, in chunks of one byte, is a form."""
    body = body_of(Piece("file", b"x" * 4000, "a.bin"), Piece("text", b"y"))
    chunks = chunked(*[bytes([each]) for each in body])
    assert server.ask(head_of("Transfer-Encoding: chunked"), chunks) == 200


def test_announced_too_long_body_is_refused_before_it_is_sent(server: Running) -> None:
    """A client that asks first gets its answer; one that sends all the same as well."""
    head = head_of(length=500 * MIB)
    with server.connect() as wire:
        assert wire.send_until_answered([head, b"x" * 10]) == 413
    with server.connect() as wire:
        assert wire.send_until_answered([head, *[b"x" * MIB] * 100]) == 413
        assert wire.sent < 50 * MIB


def test_client_that_still_sends_reads_that_it_is_too_much(server: Running) -> None:
    """A file that turns out to be too long is refused while the client sends, and the answer arrives."""
    body = body_of(Piece("file", b"x" * 80 * MIB, "a.bin"))
    with server.connect() as wire:
        assert wire.send_until_answered([head_of(length=len(body)), body]) == 413
        assert wire.sent < len(body)


@pytest.mark.parametrize("end", ["reset", "finish"])
@pytest.mark.parametrize("sent", [200, 100 * KIB, 3 * MIB])
def test_client_that_vanishes_leaves_nothing(server: Running, end: str, sent: int) -> None:
    """Wherever a client leaves, by FIN or by RST, its upload is given up."""
    body = body_of(Piece("file", b"1" * KIB, "a.txt"), Piece("more", b"x" * 5 * MIB, "b.bin"))
    with server.connect() as wire:
        wire.socket.sendall(head_of(length=len(body)) + body[:sent])
        server.process.wait_until(lambda: server.state()["uploads"] == 1)
        if end == "reset":
            wire.reset()
        else:
            wire.finish()
        server.wait_until_idle()


def test_client_that_stalls_is_told_so(server: Running) -> None:
    """A client that stops sending reads 408, and the connection ends."""
    body = body_of(Piece("file", b"x" * 5 * MIB, "b.bin"))
    with server.connect() as wire:
        wire.socket.sendall(head_of(length=len(body)) + body[: 2 * MIB])
        assert wire.status() == 408


def test_ten_thousand_parts_are_refused(server: Running) -> None:
    """Ten thousand parts are more than are allowed."""
    body = body_of(*[Piece("texts", b"x")] * 10_000)
    assert server.ask(head_of(length=len(body)), body) == 413


@pytest.mark.parametrize(
    "headers", [("X-Long: " + "x" * MIB,), tuple(f"X-{each}: 1" for each in range(1000)), ("X" * MIB,)]
)
def test_headers_of_a_part_are_limited(server: Running, headers: tuple[str, ...]) -> None:
    """A megabyte of header in a part is refused, in one line or in many."""
    body = body_of(Piece("text", b"", headers=headers))
    assert server.ask(head_of(length=len(body)), body) == 413


def test_preamble_without_end_is_refused(server: Running) -> None:
    """Five megabytes before the first boundary are not read to their end."""
    body = b"x" * 5 * MIB + b"\r\n" + body_of(Piece("text", b"y"))
    assert server.ask(head_of(length=len(body)), body) == 400


@pytest.mark.parametrize("unit", [b"\r", b"\r\n", b"\r\n--", b"\r\n--" + BOUNDARY[:-1]])
def test_flood_of_line_breaks_is_taken(server: Running, unit: bytes) -> None:
    """20 MB of what could become a boundary are stored like any other content."""
    body = body_of(Piece("file", unit * (20_000_000 // len(unit)), "a.bin"))
    assert server.ask(head_of(length=len(body)), body) == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 10_000,
        "multipart/form-data; boundary=a; boundary=b",
        'multipart/form-data; boundary="a\\"; x="',
    ],
)
def test_tricks_with_boundaries_are_refused(server: Running, content_type: str) -> None:
    """A boundary that two readers may read differently is refused."""
    body = body_of(Piece("text", b"y"))
    assert server.ask(head_of(length=len(body), content_type=content_type), body) == 400


def test_two_content_types_are_refused(server: Running) -> None:
    """Of two types nobody knows which one is meant."""
    body = body_of(Piece("text", b"y"))
    assert server.ask(head_of("Content-Type: multipart/form-data; boundary=x", length=len(body)), body) == 415


def test_length_that_is_too_short_truncates_the_form(server: Running) -> None:
    """What comes behind the announced length is no part of the form."""
    body = body_of(Piece("file", b"x" * KIB, "a.txt"))
    assert server.ask(head_of(length=len(body) - 20), body) == 400


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 10", "Content-Length: 20"),
        ("Content-Length: -1",),
        ("Content-Length: 10", "Transfer-Encoding: chunked, x"),
    ],
)
def test_contradictory_lengths_are_refused_by_the_server(server: Running, headers: tuple[str, ...]) -> None:
    """No server hands such a body to the application."""
    assert server.ask(head_of(*headers), b"0\r\n\r\n") in {400, 501}


def test_length_and_chunks_are_one_body_or_none(server: Running) -> None:
    """With both, a server refuses (uvicorn) or takes the chunks (granian, RFC 9112 section 6.3)."""
    body = body_of(Piece("text", b"y"))
    head = head_of("Transfer-Encoding: chunked", length=3)
    assert server.ask(head, chunked(body)) in {200, 400}


def test_put_streams(server: Running) -> None:
    """A raw body takes the same way."""
    head = head_of(path="/raw/a.bin", method="PUT", length=3 * MIB, content_type="application/octet-stream")
    assert server.ask(head, b"x" * 3 * MIB) == 200
