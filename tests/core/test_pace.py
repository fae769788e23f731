"""Who is given large blocks: those who come back at once, and keep doing so."""

from __future__ import annotations

from litestar_filestore.core.pace import Pace

MIB = 1024 * 1024


class _Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _read(pace: Pace, clock: _Clock, count: int, *, pause: float) -> list[bool]:
    """Take a MiB `count` times, each after a pause, and return what was thought each time."""
    thought: list[bool] = []
    for _ in range(count):
        clock.seconds += pause
        thought.append(pace.is_quick())
        pace.give(MIB)
    return thought


def test_a_quick_consumer_has_to_prove_it() -> None:
    """The first four MiB prove nothing: a socket takes them for anybody."""
    clock = _Clock()
    assert _read(Pace(clock), clock, 6, pause=0.01) == [False] * 4 + [True] * 2


def test_a_slow_consumer_is_never_quick() -> None:
    """However much somebody takes, pauses keep the blocks small."""
    clock = _Clock()
    assert not any(_read(Pace(clock), clock, 50, pause=0.1))


def test_one_pause_begins_anew() -> None:
    """Who was quick and pauses is on trial again."""
    clock = _Clock()
    pace = Pace(clock)
    assert _read(pace, clock, 5, pause=0)[-1]
    assert _read(pace, clock, 1, pause=1) == [False]
    assert _read(pace, clock, 5, pause=0) == [False] * 3 + [True] * 2


def test_a_pause_is_remembered_until_the_consumer_is_quick() -> None:
    """Nothing is read ahead for somebody who paused before he has proved himself again."""
    clock = _Clock()
    pace = Pace(clock)
    remembered = [pace.has_paused]
    for count, pause in ((1, 1.0), (3, 0.0), (1, 0.0)):
        _read(pace, clock, count, pause=pause)
        remembered.append(pace.has_paused)
    assert remembered == [False, True, True, False]


def test_reading_itself_is_no_pause() -> None:
    """A disk that is slow is not the consumer's fault: time counts from the moment a block is handed over."""
    clock = _Clock()
    pace = Pace(clock)
    for _ in range(5):
        pace.is_quick()
        clock.seconds += 1
        pace.give(MIB)
    assert pace.is_quick()
