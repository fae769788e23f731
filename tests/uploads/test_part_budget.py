"""Who may have memory for parts, and when: it is never more than there is, and everybody's turn comes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings, strategies as st

from litestar_filestore.core.types import PartBuffers
from litestar_filestore.uploads.limits import PartBudget

MIB = 1024 * 1024
TOTAL = 100
DEMANDS = st.lists(
    st.tuples(st.integers(0, 150), st.integers(0, 150), st.integers(0, 5), st.booleans()), min_size=1, max_size=30
)


class _Watch:
    """Holds what it takes for some turns of the event loop, and sees how much all hold together."""

    def __init__(self, total: int) -> None:
        self.budget = PartBudget(total)
        self.held: list[int] = []
        self.most = 0

    async def hold(self, wanted: int, least: int, turns: int) -> int:
        size = await self.budget.take(wanted, least=least)
        self.held.append(size)
        assert len(self.held) == 1 or sum(self.held) <= TOTAL
        for _ in range(turns):
            await asyncio.sleep(0)
        self.held.remove(size)
        self.budget.give(size)
        return size


@given(demands=DEMANDS)
@settings(max_examples=200, deadline=None)
def test_never_exceeded_and_never_stuck(demands: list[tuple[int, int, int, bool]]) -> None:
    """Whatever is asked for, and whoever is cancelled: not more than the total is out, and all of it comes back."""

    async def run() -> None:
        watch = _Watch(TOTAL)
        tasks: list[asyncio.Task[int]] = []
        for one, other, turns, leaves in demands:
            wanted, least = max(one, other), min(one, other)
            task = asyncio.create_task(watch.hold(wanted, least, turns))
            tasks.append(task)
            await asyncio.sleep(0)
            if leaves and not watch.held:
                task.cancel()
        async with asyncio.timeout(5):
            sizes = await asyncio.gather(*tasks, return_exceptions=True)
        for (one, other, _, _), size in zip(demands, sizes, strict=True):
            assert size in {one, other} or isinstance(size, asyncio.CancelledError)
        assert (watch.budget.free_bytes, watch.budget.holders, watch.budget.is_short) == (TOTAL, 0, False)

    asyncio.run(run())


async def test_first_come_first_served() -> None:
    """A small demand does not overtake a large one for ever."""
    budget = PartBudget(TOTAL)
    order: list[str] = []

    async def take(name: str, size: int) -> None:
        await budget.take(size, least=size)
        order.append(name)

    await take("first", 60)
    large = asyncio.create_task(take("large", 80))
    await asyncio.sleep(0)
    small = asyncio.create_task(take("small", 20))
    await asyncio.sleep(0)
    assert order == ["first"]
    budget.give(60)
    await asyncio.gather(large, small)
    assert order == ["first", "large", "small"]


async def test_who_is_alone_is_let_through() -> None:
    """A demand above the total is met when nobody else holds anything."""
    budget = PartBudget(TOTAL)
    assert await budget.take(500, least=300) == 300
    other = asyncio.create_task(budget.take(1, least=1))
    await asyncio.sleep(0)
    assert budget.is_short
    budget.give(300)
    assert await other == 1


async def test_all_that_is_wanted_only_while_nobody_waits() -> None:
    """When others wait, each gets the least, so that more of them get on."""
    budget = PartBudget(TOTAL)
    assert await budget.take(90, least=10) == 90
    waiting = [asyncio.create_task(budget.take(60, least=20)) for _ in range(3)]
    await asyncio.sleep(0)
    budget.give(90)
    assert await asyncio.gather(*waiting) == [20, 20, 60]


async def test_waiter_who_leaves_lets_the_next_one_in() -> None:
    """Cancelling the large demand in front frees the way for the small one behind."""
    budget = PartBudget(TOTAL)
    await budget.take(60, least=60)
    large = asyncio.create_task(budget.take(80, least=80))
    small = asyncio.create_task(budget.take(20, least=20))
    await asyncio.sleep(0)
    large.cancel()
    async with asyncio.timeout(5):
        assert await small == 20
    with pytest.raises(asyncio.CancelledError):
        await large


async def test_who_leaves_at_the_moment_of_the_grant_gives_it_back() -> None:
    """A task that is cancelled between its grant and its next step keeps nothing."""
    budget = PartBudget(TOTAL)
    await budget.take(TOTAL, least=TOTAL)
    waiting = asyncio.create_task(budget.take(50, least=50))
    await asyncio.sleep(0)
    budget.give(TOTAL)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (budget.free_bytes, budget.holders) == (TOTAL, 0)


@pytest.mark.parametrize(
    ("size", "concurrency", "copies", "held"),
    [
        (0, None, 1, 0),
        (3, None, 1, 3),
        (8, None, 1, 8),
        (100, None, 1, 40),
        (100, 1, 1, 16),
        (12, 1, 1, 12),
        (100, 1, 2, 24),
        (100, None, 2, 72),
        (3, None, 2, 6),
    ],
)
def test_parts_in_memory(size: int, concurrency: int | None, copies: int, held: int) -> None:
    """One part is gathered while the others are on their way; short content is never more than itself."""
    buffers = PartBuffers(part_bytes=8 * MIB, max_concurrency=4, copies=copies)
    assert buffers.bytes_of(size * MIB, max_concurrency=concurrency) == held * MIB
