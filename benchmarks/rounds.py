"""Times contenders side by side: all of them in every round, in changing order, and medians over the rounds.

On a machine that others use as well, only what was measured within seconds of each other can be compared.
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ("Contender", "Score", "compare")


def _nothing() -> None:
    pass


class Contender(NamedTuple):
    """One way of doing the same thing."""

    name: str
    run: Callable[[int], None]
    """Does it so many times, each on an object of its own."""
    clean: Callable[[], None] = _nothing
    """Removes what `run` left; not timed."""


class Score(NamedTuple):
    """What a contender needed."""

    name: str
    seconds: float
    """Median time of one operation."""
    ratio: float
    """Median of its time over that of the first contender in the same round; above 1 is slower."""


def compare(contenders: Sequence[Contender], *, rounds: int, count: int) -> list[Score]:
    """Run every contender `rounds` times, `count` operations each; the first one is the reference."""
    for contender in contenders:  # what is loaded and opened at the first use is not compared
        contender.run(1)
        contender.clean()
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in _rotated(contenders, number):
            times[contender.name].append(_time(contender, count))
    reference = times[contenders[0].name]
    return [
        Score(
            name,
            median(taken) / count,
            median(mine / theirs for mine, theirs in zip(taken, reference, strict=True)),
        )
        for name, taken in times.items()
    ]


def _rotated(contenders: Sequence[Contender], number: int) -> list[Contender]:
    shift = number % len(contenders)
    return [*contenders[shift:], *contenders[:shift]]


def _time(contender: Contender, count: int) -> float:
    gc.collect()
    start = time.perf_counter()
    contender.run(count)
    taken = time.perf_counter() - start
    contender.clean()
    return taken
