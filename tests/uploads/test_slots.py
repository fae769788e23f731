"""Who may upload when there is not room for all: no store, client or slow sender takes it from the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from litestar import Litestar, post
from litestar.params import MultipartBody

from litestar_filestore import FileField, FileObject, FilestoreConfig, FilestorePlugin, UploadLimits
from litestar_filestore.uploads.limits import ByteBudget, PartBudget, client_address
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.scripted import Script, messages, sending
from tests.uploads.watched import watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.uploads.conftest import Receiving

BODY = body_of(Piece("file", b"x" * 100_000, "a.bin"))
START = {"type": "http.request", "body": BODY[:70_000], "more_body": True}
PATIENCE = 30.0


@post("/one", status_code=200)
async def one(data: MultipartBody[Annotated[FileObject, FileField(backend="one")]]) -> None:
    """Take a file for one store."""


@post("/other", status_code=200)
async def other(data: MultipartBody[Annotated[FileObject, FileField(backend="other")]]) -> None:
    """Take a file for the other."""


async def test_slots_of_each_store(tmp_path: Path) -> None:
    """Uploads to a store that takes nothing any more leave the slots of another one alone."""
    stalled, driver = watched("one", str(tmp_path / "one"))
    healthy, _ = watched("other", str(tmp_path / "other"))
    config = FilestoreConfig([stalled, healthy], limits=UploadLimits(max_uploads=1), ledger=None)
    app = Litestar([one, other], plugins=[FilestorePlugin(config)], openapi_config=None)
    async with app.lifespan(), asyncio.timeout(PATIENCE):
        driver.gate.clear()
        async with sending(Script(messages(BODY)), app, "/one") as first:
            await driver.wait_for(1)
            assert (await Script(messages(BODY)).run(app, "/one")).status == 503
            assert (await Script(messages(BODY)).run(app, "/other")).status == 200
            driver.gate.set()
            assert (await first).status == 200
        assert (await Script(messages(BODY)).run(app, "/one")).status == 200
    assert config.limits.slots.taken == 0


async def test_memory_of_each_store() -> None:
    """A store that gives nothing back holds half of the memory at most, once there is another one."""
    budget = ByteBudget(100)
    assert await budget.take(10, least=10, store="other") == 10
    assert await budget.take(80, least=10, store="stalled") == 50
    async with asyncio.timeout(PATIENCE):
        waiting = asyncio.create_task(budget.take(80, least=10, store="stalled"))
        assert await budget.take(80, least=10, store="other") == 40
        assert await budget.take(20, least=10, store="third") == 10
        assert not waiting.done()
        budget.give(50, store="stalled")
        assert await waiting == 40


async def test_memory_of_what_is_not_known_to_go_elsewhere() -> None:
    """With one store, its uploads hold no more together than is allowed; with several, one of them may hang."""
    budget = ByteBudget(100)
    budget.take_more(100, store="hangs")
    assert await budget.take(20, least=10) == 10
    budget = ByteBudget(100)
    budget.is_for_one_store = True
    async with asyncio.timeout(PATIENCE):
        budget.take_more(100, store="first")
        waiting = asyncio.create_task(budget.take(20, least=10))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.take_more(10, store="second")
        assert await waiting == 10
        budget.give(10)
        assert await budget.take(20, least=10) == 10
    assert await ByteBudget(5).take(20, least=10) == 10


async def test_parts_of_each_store() -> None:
    """The same holds for the parts that stores gather, and the next upload to a store is let through if it is alone."""
    budget = PartBudget(100)
    async with asyncio.timeout(PATIENCE):
        assert await budget.take(30, least=30, store="stalled") == 30
        assert await budget.take(30, least=30, store="other") == 30
        waiting = asyncio.create_task(budget.take(30, least=30, store="stalled"))
        await asyncio.sleep(0)
        assert budget.is_wanted("stalled")
        assert not budget.is_wanted("other")
        assert await budget.take(20, least=20, store="other") == 20
        assert await budget.take(80, least=80, store="third") == 80
        assert not waiting.done()
        budget.give(30, store="stalled")
        assert await waiting == 30


async def slowly(pauses: int) -> AsyncIterator[dict[str, Any]]:
    """Begin a form and go on a byte at a time."""
    yield START
    for position in range(70_000, 70_000 + pauses):
        await asyncio.sleep(0.02)
        yield {"type": "http.request", "body": BODY[position : position + 1], "more_body": True}
    yield {"type": "http.request", "body": BODY[70_000 + pauses :], "more_body": False}


RATES: dict[str, Any] = {"min_bytes_per_second": 1, "busy_bytes_per_second": 1_000_000, "rate_seconds": 0.1}


async def test_slow_sender_gives_way(receiving: Receiving) -> None:
    """A sender that is slow loses its slot soon after somebody else was refused one."""
    async with receiving(max_uploads=1, **RATES) as receiver, asyncio.timeout(PATIENCE):
        async with sending(Script(slowly(20_000)), receiver.app) as slow:
            await receiver.driver.wait_for(1)
            assert (await receiver.send(BODY)).status == 503
            assert (await slow).status == 408
        assert (await receiver.send(BODY)).status == 200


async def test_slow_sender_is_left_alone(receiving: Receiving) -> None:
    """Where there are slots for all, it may go on."""
    async with (
        receiving(max_uploads=3, **RATES) as receiver,
        asyncio.timeout(PATIENCE),
        sending(Script(slowly(20)), receiver.app) as slow,
    ):
        await receiver.driver.wait_for(1)
        assert (await receiver.send(BODY)).status == 200
        assert (await slow).status == 200


async def test_share_of_an_address(receiving: Receiving) -> None:
    """One client address has three quarters of the slots at most; a server in front on this host has all."""
    async with receiving(max_uploads=4) as receiver, AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
        receiver.driver.gate.clear()
        for number in range(3):
            _ = await stack.enter_async_context(
                sending(Script(messages(START)), receiver.app, client=f"2001:db8::{number}")
            )
        await receiver.driver.wait_for(2 * 70_000 + 1)  # more than two of them can have brought
        assert (await receiver.send(BODY, client="2001:db8::ffff")).status == 503
        receiver.driver.gate.set()
        assert (await receiver.send(BODY, client="198.51.100.1")).status == 200
        assert (await receiver.send(BODY)).status == 200


async def test_share_that_is_set(receiving: Receiving) -> None:
    """The share can be set."""
    async with receiving(max_uploads=4, max_uploads_per_address=1) as receiver, asyncio.timeout(PATIENCE):
        async with sending(Script(messages(START)), receiver.app, client="192.0.2.1"):
            await receiver.driver.wait_for(1)
            assert (await receiver.send(BODY, client="192.0.2.1")).status == 503
        assert (await receiver.send(BODY, client="192.0.2.1")).status == 200


async def test_deadline(receiving: Receiving) -> None:
    """A request that does not end is given up, although something always comes."""
    async with receiving(request_seconds=0.2, min_bytes_per_second=0) as receiver, asyncio.timeout(PATIENCE):
        answer = await Script(slowly(20_000)).run(receiver.app)
    assert answer.status == 408


async def test_deadline_of_a_store(receiving: Receiving) -> None:
    """Nor does a store that hangs keep the slot of an upload for ever."""
    async with receiving(request_seconds=0.2) as receiver, asyncio.timeout(PATIENCE):
        receiver.driver.gate.clear()
        answer = await receiver.send(BODY)
        receiver.driver.gate.set()
    assert answer.status == 503


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (None, None),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::a", "20010db800000001::"),
        ("testclient", "testclient"),
    ],
)
def test_address(host: str | None, address: str | None) -> None:
    """Clients are told apart by address, those of one IPv6 network and those behind a server on this host are not."""
    assert client_address(host) == address
