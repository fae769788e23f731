"""The disturbances that the fault proxy makes, between plain sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.servers.chaos import ChaosProxy, Cut, running_proxy
from tests.servers.processes import HOST, free_port


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # what the tests are about
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[ChaosProxy]:
    """A proxy in front of a server that sends everything back."""
    async with (
        await asyncio.start_server(_echo, HOST, 0) as server,
        ChaosProxy(HOST, server.sockets[0].getsockname()[1]) as proxy,
    ):
        yield proxy


@asynccontextmanager
async def _client(proxy: ChaosProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _exchange(proxy: ChaosProxy, content: bytes) -> bytes:
    """Send `content`, say that this is all, and read until the other side says so too."""
    async with _client(proxy) as (reader, writer):

        async def send() -> None:
            writer.write(content)
            writer.write_eof()
            await writer.drain()

        return (await asyncio.gather(reader.read(), send()))[0]


def _now() -> float:
    return asyncio.get_running_loop().time()


async def test_everything_passes_undisturbed(proxy: ChaosProxy) -> None:
    """Without any fault every byte arrives, in order, and both ends see the end."""
    content = bytes(range(256)) * 40_000

    assert await _exchange(proxy, content) == content


async def test_connections_are_counted(proxy: ChaosProxy) -> None:
    """The number of accepted connections tells whether a client has tried again."""
    await _exchange(proxy, b"1")
    await _exchange(proxy, b"2")

    assert proxy.connections == 2


async def test_latency_delays_each_direction(proxy: ChaosProxy) -> None:
    """There and back takes the latency twice."""
    proxy.latency_seconds = 0.1
    start = _now()
    await _exchange(proxy, b"content")

    assert _now() - start >= 0.2


async def test_latency_does_not_add_up(proxy: ChaosProxy) -> None:
    """Chunks are on their way at the same time: 50 of them are not 50 times late."""
    proxy.latency_seconds = 0.1
    start = _now()
    await _exchange(proxy, b"x" * 50 * 16_384)

    assert _now() - start < 50 * 0.1


async def test_rate_limits_throughput(proxy: ChaosProxy) -> None:
    """Bytes take at least as long as the rate says."""
    proxy.bytes_per_second = 100_000
    start = _now()
    content = await _exchange(proxy, b"x" * 30_000)

    assert len(content) == 30_000
    assert _now() - start >= 0.3


async def test_cut_resets_the_client(proxy: ChaosProxy) -> None:
    """After the given number of bytes the client's connection is reset."""
    proxy.cut = Cut(after_bytes=5, direction="to_client")
    async with _client(proxy) as (reader, writer):
        writer.write(b"0123456789")

        assert await reader.readexactly(5) == b"01234"
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_cut_finishes_the_client(proxy: ChaosProxy) -> None:
    """After the given number of bytes the client sees a regular end, although there is more."""
    proxy.cut = Cut(after_bytes=5, direction="to_client", how="finish")
    async with _client(proxy) as (reader, writer):
        writer.write(b"0123456789")

        assert await reader.read() == b"01234"


async def test_cut_stalls_the_client(proxy: ChaosProxy) -> None:
    """After the given number of bytes nothing more arrives, and the connection stays open."""
    proxy.cut = Cut(after_bytes=5, direction="to_client", how="stall")
    async with _client(proxy) as (reader, writer):
        writer.write(b"0123456789")

        assert await reader.readexactly(5) == b"01234"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)


async def test_a_stalled_connection_stalls_no_other(proxy: ChaosProxy) -> None:
    """With one cut left the second connection passes while the first one is stalled."""
    proxy.cut = Cut(after_bytes=0, direction="to_client", how="stall")
    proxy.cuts_left = 1
    async with _client(proxy) as (reader, writer):
        writer.write(b"0123456789")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)

        assert await _exchange(proxy, b"content") == b"content"


async def test_drop_resets_open_connections(proxy: ChaosProxy) -> None:
    """What is open breaks, and what comes after passes."""
    async with _client(proxy) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        proxy.drop()

        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert await _exchange(proxy, b"content") == b"content"


async def test_cut_towards_the_server_breaks_the_client_too(proxy: ChaosProxy) -> None:
    """A connection that breaks on the way to the server is broken for the client."""
    proxy.cut = Cut(after_bytes=5, direction="to_server")
    async with _client(proxy) as (reader, writer):
        writer.write(b"0123456789")

        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_cut_at_the_end_leaves_the_connection_whole(proxy: ChaosProxy) -> None:
    """Exactly the given number of bytes still passes."""
    proxy.cut = Cut(after_bytes=10, direction="to_client")

    assert await _exchange(proxy, b"0123456789") == b"0123456789"


async def test_cuts_left_counts_down(proxy: ChaosProxy) -> None:
    """With one cut left only the first connection breaks, so that a client's second attempt succeeds."""
    proxy.cut = Cut(after_bytes=5, direction="to_client")
    proxy.cuts_left = 1
    with pytest.raises(ConnectionResetError):
        await _exchange(proxy, b"0123456789")

    assert await _exchange(proxy, b"0123456789") == b"0123456789"


async def test_hold_keeps_everything_until_release(proxy: ChaosProxy) -> None:
    """In a black hole the connection stands but nothing arrives, until it is over."""
    proxy.hold()
    async with _client(proxy) as (reader, writer):
        writer.write(b"content")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        proxy.release()

        assert await reader.readexactly(7) == b"content"


async def test_refuse_rejects_new_connections(proxy: ChaosProxy) -> None:
    """While connections are refused, connecting fails as with a server that does not run."""
    proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, proxy.port)


async def test_refuse_leaves_open_connections(proxy: ChaosProxy) -> None:
    """A connection from before goes on."""
    async with _client(proxy) as (reader, writer):
        writer.write(b"1")
        await reader.readexactly(1)
        proxy.refuse()
        writer.write(b"2")

        assert await reader.readexactly(1) == b"2"


async def test_accept_ends_refuse(proxy: ChaosProxy) -> None:
    """Afterwards the same port takes connections again."""
    proxy.refuse()
    await proxy.accept()

    assert await _exchange(proxy, b"content") == b"content"


async def test_a_server_that_is_gone_resets_the_client() -> None:
    """When nobody listens behind the proxy, its connections break at once."""
    async with ChaosProxy(HOST, free_port()) as proxy, _client(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_leaving_breaks_open_connections() -> None:
    """A proxy that is closed does not leave its clients waiting."""
    async with await asyncio.start_server(_echo, HOST, 0) as server:
        async with ChaosProxy(HOST, server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection(HOST, proxy.port)
            writer.write(b"1")
            await reader.readexactly(1)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


def _talk(port: int, content: bytes) -> bytes:
    with socket.create_connection((HOST, port), timeout=5) as client:
        client.sendall(content)
        return client.recv(len(content))


async def test_a_proxy_in_a_thread_is_changed_from_another() -> None:
    """It disturbs a client that blocks the event loop of the test."""
    async with await asyncio.start_server(_echo, HOST, 0) as server:
        with running_proxy(HOST, server.sockets[0].getsockname()[1]) as faults:
            faults.refuse()
            with pytest.raises(ConnectionRefusedError):
                _talk(faults.port, b"1")
            faults.accept()

            assert await asyncio.to_thread(_talk, faults.port, b"content") == b"content"
            assert faults.connections == 1
