"""Uploads stream: bytes go on while others are still on their way, and no faster than the backend takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar_filestore.core.sources import LiveSource, iter_blocks_async
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.uploads.limits import ByteBudget
from litestar_filestore.validation.detect import SignatureDetector
from tests.uploads.conftest import Receiver, Receiving
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.scripted import Script, messages, sending, until

KIB = 1024
MIB = 1024 * 1024


async def test_first_bytes_are_stored_before_the_last_are_sent(receiving: Receiving) -> None:
    """A client that waits with the end of its file until the beginning has arrived, is not kept waiting."""
    body = body_of(Piece("file", b"x" * 200 * KIB, "a.bin"))
    async with receiving() as receiver:

        async def waiting() -> AsyncIterator[dict[str, Any]]:
            yield {"type": "http.request", "body": body[: 100 * KIB], "more_body": True}
            await receiver.driver.wait_for(90 * KIB)
            yield {"type": "http.request", "body": body[100 * KIB :], "more_body": False}

        answer = await Script(waiting()).run(receiver.app)
    assert answer.json["files"][0]["size"] == 200 * KIB


async def test_little_is_handed_on_without_waiting_for_more(receiving: Receiving) -> None:
    """A slow client's kilobytes go to the backend as they come; they are not gathered."""
    detected = SignatureDetector.head_bytes
    head = b"x" * detected  # as much as the detection of the type asks for
    body = body_of(Piece("file", head + b"y" * 10 * KIB, "a.bin"))
    async with receiving() as receiver:

        async def slowly() -> AsyncIterator[dict[str, Any]]:
            for number, start in enumerate(range(0, len(body), KIB)):
                yield {"type": "http.request", "body": body[start : start + KIB], "more_body": True}
                if number > detected // KIB + 2:
                    await receiver.driver.wait_for((number - 2) * KIB)
            yield {"type": "http.request", "body": b"", "more_body": False}

        assert (await Script(slowly()).run(receiver.app)).status == 200
        assert max(receiver.driver.blocks[1:]) < 16 * KIB


async def test_much_is_gathered_into_large_blocks(receiving: Receiving) -> None:
    """What a fast client sends reaches the backend in few blocks, of up to a mebibyte."""
    body = body_of(Piece("file", b"x" * 8 * MIB, "a.bin"))
    pieces = [body[start : start + 64 * KIB] for start in range(0, len(body), 64 * KIB)]
    async with receiving() as receiver:
        assert (await receiver.send(*pieces)).status == 200
        assert len(receiver.driver.blocks) < 40
        assert max(receiver.driver.blocks) <= BLOCK_BYTES


async def test_slow_backend_stops_the_reading(receiving: Receiving) -> None:
    """While the backend does not take its block, no more than the next block is read from the client."""
    body = body_of(Piece("file", b"x" * 20 * MIB, "a.bin"))
    pieces = [body[start : start + 64 * KIB] for start in range(0, len(body), 64 * KIB)]
    script = Script(messages(*pieces))
    async with receiving() as receiver:
        receiver.driver.gate.clear()
        async with sending(script, receiver.app) as answer:
            await receiver.driver.wait_for(1)
            for _ in range(2000):
                await asyncio.sleep(0)  # every chance to read on
            assert script.taken * 64 * KIB <= 2 * BLOCK_BYTES
            receiver.driver.gate.set()
            assert (await answer).status == 200


@asynccontextmanager
async def held_up(receiver: Receiver) -> AsyncGenerator[int]:
    """Hold up the backend in the middle of a fast client's file; yields how many bytes then wait for it."""
    body = body_of(Piece("file", b"x" * 20 * MIB, "a.bin"))
    pieces = [body[start : start + 64 * KIB] for start in range(0, len(body), 64 * KIB)]
    script = Script(messages(*pieces))
    async with sending(script, receiver.app) as answer:
        await receiver.driver.wait_for(2 * MIB)
        receiver.driver.gate.clear()
        for _ in range(2000):
            await asyncio.sleep(0)  # every chance to read on
        yield script.taken * 64 * KIB - sum(receiver.driver.blocks)
        receiver.driver.gate.set()
        assert (await answer).status == 200


async def test_block_is_read_ahead_while_the_backend_works(receiving: Receiving) -> None:
    """A fast client sends the next block while the backend stores one. The memory of both is counted."""
    async with receiving() as receiver, held_up(receiver) as waiting:
        assert BLOCK_BYTES - 64 * KIB <= waiting <= BLOCK_BYTES + 64 * KIB
        held = receiver.limits.buffer_bytes - receiver.limits.budget.free_bytes
        assert held == receiver.driver.blocks[-1] + BLOCK_BYTES


async def test_no_block_is_read_ahead_if_memory_is_short(receiving: Receiving) -> None:
    """Then one message is, as much as the server has asked the client for."""
    async with receiving(buffer_bytes=BLOCK_BYTES + BLOCK_BYTES // 2) as receiver, held_up(receiver) as waiting:
        assert waiting <= 2 * 64 * KIB


async def test_slow_clients_hold_no_memory(receiving: Receiving) -> None:
    """What was taken to read ahead is given back when the client is waited for."""
    body = body_of(Piece("file", b"x" * 8 * MIB, "a.bin"))
    paused, goes_on = asyncio.Event(), asyncio.Event()
    async with receiving() as receiver:

        async def pausing() -> AsyncIterator[dict[str, Any]]:
            for start in range(0, 4 * MIB, 64 * KIB):
                yield {"type": "http.request", "body": body[start : start + 64 * KIB], "more_body": True}
            paused.set()
            await goes_on.wait()
            yield {"type": "http.request", "body": body[4 * MIB :], "more_body": False}

        async with sending(Script(pausing()), receiver.app) as answer:
            await paused.wait()
            await until(lambda: receiver.limits.budget.free_bytes == receiver.limits.buffer_bytes)
            goes_on.set()
            assert (await answer).status == 200


async def test_uploads_share_one_budget(receiving: Receiving) -> None:
    """Many fast uploads into a backend that stands still hold no more than the budget, and all of them end."""
    body = body_of(Piece("file", b"x" * 3 * MIB, "a.bin"))
    pieces = [body[start : start + 64 * KIB] for start in range(0, len(body), 64 * KIB)]
    scripts = [Script(messages(*pieces)) for _ in range(20)]
    async with receiving(buffer_bytes=2 * MIB) as receiver:
        receiver.driver.gate.clear()
        tasks = [asyncio.create_task(each.run(receiver.app)) for each in scripts]
        await receiver.driver.wait_for(1)
        for _ in range(2000):
            await asyncio.sleep(0)
        taken = sum(each.taken for each in scripts) * 64 * KIB
        # Beside the budget, each has one message that came and one that was asked for ahead.
        assert taken <= receiver.limits.buffer_bytes + len(scripts) * 2 * 64 * KIB
        receiver.driver.gate.set()
        answers = await asyncio.gather(*tasks)
    assert {each.status for each in answers} == {200}


async def test_budget_is_given_to_those_who_wait() -> None:
    """Who waits for the budget gets it when it is given back, and who gives up waiting leaves it to the next."""
    budget = ByteBudget(100)
    assert await budget.take(200, least=10) == 100
    impatient, patient = (asyncio.create_task(budget.take(50, least=10)) for _ in range(2))
    await asyncio.sleep(0)
    budget.give(20)
    impatient.cancel()
    assert await patient == 20
    budget.give(100)
    assert budget.free_bytes == 100


async def test_budget_is_taken_at_once_or_not_at_all() -> None:
    """Nothing is taken that is not free, or that somebody waits for."""
    budget = ByteBudget(100)
    assert budget.take_now(60, store="a")
    assert not budget.take_now(50, store="a")
    assert budget.free_bytes == 40
    waiting = asyncio.create_task(budget.take(50, least=50, store="a"))
    await asyncio.sleep(0)
    assert not budget.take_now(10, store="a")
    budget.give(60, store="a")
    assert await waiting == 50
    assert budget.take_now(10, store="a")


async def test_budget_lets_in_all_for_whom_there_is_room() -> None:
    """One return of much lets several go on."""
    budget = ByteBudget(100)
    taken = await budget.take(100, least=100)
    waiting = [asyncio.create_task(budget.take(20, least=10)) for _ in range(5)]
    await asyncio.sleep(0)
    budget.give(taken)
    assert await asyncio.gather(*waiting) == [20] * 5


class Arriving(LiveSource):
    """Blocks of any size."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)

    async def __anext__(self) -> bytes:
        if self._blocks:
            return self._blocks.pop(0)
        raise StopAsyncIteration

    async def read(self, _size: int = -1) -> bytes:
        """Read everything; not what a backend may call."""
        raise AssertionError


async def test_live_source_is_cut_and_not_gathered() -> None:
    """Blocks of a live source go on as they are, long ones in several."""
    blocks = [len(each) async for each in iter_blocks_async(Arriving(b"1", b"22", b"x" * (BLOCK_BYTES + 5)))]
    assert blocks == [1, 2, BLOCK_BYTES, 5]
