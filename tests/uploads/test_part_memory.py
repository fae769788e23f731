"""Uploads that a backend gathers in parts: they share a configured amount of memory, and wait for it in turn."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from litestar_filestore.core.types import PartBuffers, PutOptions
from tests.servers.processes import HOST
from tests.servers.s3 import S3Server
from tests.uploads.conftest import Receiver, Receiving
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.scripted import GONE, Script, messages, sending, until
from tests.uploads.sockets import Running, head_of, serving

KIB = 1024
MIB = 1024 * 1024
BUCKET = "part-memory"
BUDGET = 48 * MIB
BUFFER = 16 * MIB
SLACK = 24 * MIB
"""What the library underneath and the allocator take beside the content."""
CONNECTION = 384 * KIB
"""What the server has of each connection: some messages that nobody has asked for yet."""


def in_messages(body: bytes) -> list[bytes]:
    """Cut a body as servers do."""
    return [body[start : start + 64 * KIB] for start in range(0, len(body), 64 * KIB)]


def long_form(size: int = 3 * MIB) -> bytes:
    """Return a form with a file that is longer than what is read before it is stored."""
    return body_of(Piece("file", b"x" * size, "a.bin"))


def in_parts(receiver: Receiver) -> None:
    """Let the store be one that gathers parts, which is what it says of itself; the limits look nowhere else."""
    receiver.driver.part_buffers = PartBuffers(part_bytes=2 * MIB, max_concurrency=4)


def options_of(receiver: Receiver) -> list[PutOptions]:
    """Return what the puts so far were told."""
    return [cast("PutOptions", each.details[0]) for each in receiver.driver.calls if each.operation == "put"]


async def stays(script: Script, taken: int) -> None:
    """See that the application asks for nothing more, however often the event loop turns."""
    for _ in range(200):
        await asyncio.sleep(0)
    assert script.taken <= taken


async def test_upload_waits_for_its_turn(receiving: Receiving) -> None:
    """The second upload is not read on before the first is stored, and waiting is not its client's idleness."""
    async with receiving(
        part_buffer_bytes=4 * MIB, idle_seconds=0.2, rate_seconds=0.2, min_bytes_per_second=MIB
    ) as receiver:
        in_parts(receiver)
        receiver.driver.gate.clear()
        first, second = (Script(messages(*in_messages(long_form()))) for _ in range(2))
        async with sending(first, receiver.app) as one:
            await receiver.driver.wait_for(1)
            async with sending(second, receiver.app) as other:
                await until(lambda: receiver.limits.part_budget.is_short)
                await stays(second, 17)  # a block, and one message ahead
                await asyncio.sleep(0.5)  # longer than a client may be idle
                assert len(options_of(receiver)) == 1
                receiver.driver.gate.set()
                assert [(await one).status, (await other).status] == [200, 200]


async def test_fewer_parts_in_flight_where_memory_is_short(receiving: Receiving) -> None:
    """The driver is told to have one part in flight if there is memory for no more, and left alone if there is."""
    async with receiving(part_buffer_bytes=6 * MIB, max_file_bytes=50 * MIB) as receiver:
        in_parts(receiver)
        for size in (20 * MIB, 4 * MIB):
            body = long_form(size)
            script = Script(messages(*in_messages(body)))
            assert (await script.run(receiver.app, headers={"content-length": str(len(body))})).status == 200
        assert [each.max_concurrency for each in options_of(receiver)] == [1, None]


async def test_short_file_does_not_wait(receiving: Receiving) -> None:
    """A file that has come as a whole overtakes those of which most is still to come."""
    async with receiving(part_buffer_bytes=0) as receiver:
        in_parts(receiver)
        receiver.driver.gate.clear()
        async with sending(Script(messages(*in_messages(long_form()))), receiver.app) as long:
            await receiver.driver.wait_for(1)
            async with sending(Script(messages(body_of(Piece("file", b"short", "a.txt")))), receiver.app) as short:
                await until(lambda: len(options_of(receiver)) == 2)
                receiver.driver.gate.set()
                assert [(await short).status, (await long).status] == [200, 200]


async def test_those_who_wait_do_not_block_those_who_hold(receiving: Receiving) -> None:
    """Uploads that wait for parts have blocks in memory; who has parts goes on even if these are all there may be."""
    go_on = asyncio.Event()
    pieces = in_messages(long_form())

    async def with_a_break() -> AsyncIterator[dict[str, Any]]:
        async for number, message in _numbered(messages(*pieces)):
            if number == 40:
                await go_on.wait()
            yield message

    async with receiving(part_buffer_bytes=0, buffer_bytes=MIB) as receiver:
        in_parts(receiver)
        async with sending(Script(with_a_break()), receiver.app) as first:
            await receiver.driver.wait_for(2 * MIB)
            async with (
                sending(Script(messages(*pieces)), receiver.app) as second,
                sending(Script(messages(*pieces)), receiver.app) as third,
            ):
                await until(lambda: receiver.limits.part_budget.is_short)
                assert receiver.limits.budget.free_bytes < 64 * KIB  # what a block needs at least
                go_on.set()
                async with asyncio.timeout(20):
                    assert [(await each).status for each in (first, second, third)] == [200] * 3


async def _numbered(source: AsyncIterator[dict[str, Any]]) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    number = 0
    async for each in source:
        yield number, each
        number += 1


async def test_client_who_leaves_while_it_waits(receiving: Receiving) -> None:
    """A request that is cancelled while it waits gives its place up."""
    async with receiving(part_buffer_bytes=0) as receiver:
        in_parts(receiver)
        receiver.driver.gate.clear()
        async with sending(Script(messages(*in_messages(long_form()))), receiver.app) as first:
            await receiver.driver.wait_for(1)
            async with sending(Script(messages(*in_messages(long_form()))), receiver.app):
                await until(lambda: receiver.limits.part_budget.is_short)
            assert not receiver.limits.part_budget.is_short
            receiver.driver.gate.set()
            assert (await first).status == 200


async def test_client_who_breaks_off_gives_its_memory_back(receiving: Receiving) -> None:
    """What an upload has is free again when its client is gone."""
    async with receiving(part_buffer_bytes=0) as receiver:
        in_parts(receiver)
        await receiver.send(*in_messages(long_form())[:20], GONE)
        assert receiver.limits.part_budget.free_bytes == 0
        assert (await receiver.send(*in_messages(long_form()))).status == 200


async def test_slow_client_is_given_up_where_others_wait(receiving: Receiving) -> None:
    """Who has memory that others wait for has to send faster than who is in nobody's way."""

    async def drops(first: bytes) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": first, "more_body": True}
        while True:
            yield {"type": "http.request", "body": b"x", "more_body": True}
            await asyncio.sleep(0.005)

    limits = {"part_buffer_bytes": 0, "busy_bytes_per_second": MIB, "min_bytes_per_second": 1, "rate_seconds": 0.1}
    async with receiving(**limits) as receiver:
        in_parts(receiver)
        async with sending(Script(drops(long_form()[: 100 * KIB])), receiver.app) as slow:
            await receiver.driver.wait_for(1)
            await asyncio.sleep(0.4)  # four times as long as the rate is taken over
            assert not slow.done()
            async with asyncio.timeout(20):
                waiting = await receiver.send(*in_messages(long_form()))
                assert ((await slow).status, waiting.status) == (408, 200)


@pytest.fixture
def server(moto_server: S3Server, tmp_path: Path) -> Iterator[Running]:
    """A server on S3 with little memory for parts, which has taken an upload before."""
    moto_server.create_bucket(BUCKET)
    bucket = {
        "fs": f"s3://{BUCKET}",
        "aws_endpoint": moto_server.endpoint,
        "aws_access_key_id": moto_server.access_key,
        "aws_secret_access_key": moto_server.secret_key,
        "aws_region": moto_server.region,
        "client_options": {"allow_http": True},
    }
    limits = {"max_uploads": 256, "part_buffer_bytes": BUDGET, "buffer_bytes": BUFFER, "busy_bytes_per_second": 0}
    with serving("uvicorn", tmp_path, bucket, **limits) as server:
        body = body_of(Piece("big", bytes(20 * MIB), "a.bin"))
        assert server.ask(head_of(length=len(body)), body) == 200
        server.wait_until_idle()
        yield server


async def _upload(port: int, content: bytes) -> str:
    """Upload a file in small pieces, each when the last one is on its way, and return the checksum in the answer."""
    body = body_of(Piece("big", content, "a.bin"))
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(head_of("Connection: close", length=len(body)))
        for start in range(0, len(body), 16 * KIB):
            writer.write(body[start : start + 16 * KIB])
            await writer.drain()
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return str(json.loads(answer)["files"][0]["checksum"])
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.slow
@pytest.mark.parametrize("uploads", [24, pytest.param(200, marks=pytest.mark.stress)])
def test_memory_of_many_uploads_to_an_object_store(server: Running, uploads: int) -> None:
    """However many upload at a time, the process holds what is configured, and every file arrives as it was sent."""
    contents = [random.Random(number).randbytes(12 * MIB) for number in range(8)]
    wanted = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in contents]

    async def upload_all() -> list[str]:
        return await asyncio.gather(*(_upload(server.port, contents[each % 8]) for each in range(uploads)))

    before = server.memory_bytes("VmRSS")
    server.forget_peak()
    checksums = asyncio.run(upload_all())
    growth = server.memory_bytes("VmHWM") - before
    assert checksums == [wanted[each % 8] for each in range(uploads)]
    assert growth < BUDGET + BUFFER + SLACK + uploads * CONNECTION
    server.wait_until_idle()
