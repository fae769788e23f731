"""Handing a reading the bytes that it asks for."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from litestar_filestore.core.rule import Piece, Reading, Wanted
from litestar_filestore.validation.reading import MOST_BYTES, Passage
from tests.validation.whole import read_whole

Answers = list[tuple[int, bytes]]
CONTENT = bytes(each % 251 for each in range(3000))
HEAD = 100


def asking(*wanted: Wanted) -> Reading[Answers]:
    """Ask for these and return what has come."""
    answers: Answers = []
    for each in wanted:
        piece = yield each
        answers.append((piece.offset, piece.data))
    return answers


def passed(content: bytes, piece: int, *wanted: Wanted) -> Answers | None:
    """Return what comes of content in pieces of this size."""
    passage = Passage(asking(*wanted), content[:HEAD])
    for at in range(HEAD, len(content), piece):
        passage.feed(memoryview(content)[at : at + piece])
    passage.end()
    return passage.result


def read(content: bytes, *wanted: Wanted) -> Answers | None:
    """Return what comes of content that is read where it lies."""
    passage = Passage(asking(*wanted), content[:HEAD])
    while (want := passage.wanted) is not None:
        at = max(len(content) + want.offset, 0) if want.offset < 0 else want.offset
        passage.give(Piece(at, content[at:] if want.offset < 0 else content[at : at + want.length]))
    return passage.result


def test_first_bytes_are_at_hand() -> None:
    """What lies in the first bytes is answered at once, in any order."""
    passage = Passage(asking(Wanted(50, 10), Wanted(0, 4)), CONTENT[:HEAD])
    assert passage.wanted is None
    assert passage.result == [(50, CONTENT[50:60]), (0, CONTENT[:4])]


def test_bytes_further_on() -> None:
    """What lies further on is waited for; the last bytes are answered at the end."""
    wanted = (Wanted(90, 20), Wanted(105, 30), Wanted(2000, 10), Wanted(-8, 0))
    expected = [(90, CONTENT[90:110]), (105, CONTENT[105:135]), (2000, CONTENT[2000:2010]), (2992, CONTENT[-8:])]
    assert passed(CONTENT, 7, *wanted) == passed(CONTENT, 10**6, *wanted) == read(CONTENT, *wanted) == expected


def test_bytes_that_have_passed() -> None:
    """A byte that has passed is gone, also where it happens to lie in memory still."""
    assert passed(CONTENT, 10**6, Wanted(2000, 10), Wanted(1500, 10)) == [(2000, CONTENT[2000:2010]), (1500, b"")]
    assert passed(CONTENT, 10**6, Wanted(2000, 10), Wanted(2000, 5)) == [
        (2000, CONTENT[2000:2010]),
        (2000, CONTENT[2000:2005]),
    ]


def test_bytes_behind_the_end() -> None:
    """There are fewer bytes where the content ends, and none behind it; nor again, when all have passed."""
    assert passed(CONTENT, 7, Wanted(2995, 10), Wanted(9000, 1), Wanted(-4, 0)) == [
        (2995, CONTENT[2995:]),
        (9000, b""),
        (9000, b""),
    ]


def test_last_bytes_are_asked_for_twice() -> None:
    """What has been answered as the last bytes is all that is left of them."""
    wanted = (Wanted(-1, 0), Wanted(-2, 0))
    assert passed(CONTENT, 7, *wanted) == read(CONTENT, *wanted) == [(2999, CONTENT[-1:])] * 2


def test_nobody_gets_all_of_a_long_file() -> None:
    """However much is asked for, a bounded part of the content is held."""
    content = bytes(3 * MOST_BYTES)
    found = passed(content, 65_536, Wanted(200, 10**9), Wanted(-(10**9), 0))
    assert found is not None
    assert [len(data) for _, data in found] == [MOST_BYTES, MOST_BYTES]


def test_member_of_an_archive() -> None:
    """A member that was named is kept as it passes, however the pieces cut its name."""
    member = b"PK\x03\x04" + bytes(26) + b"name" + b"content"
    content = bytes(500) + b"name" + bytes(300) + member + bytes(3000)
    wanted = (Wanted(-10, 0, (b"name",)), Wanted(804, len(member)), Wanted(700, 5))
    for piece in (1, 3, 29, 31, 10**6):
        assert passed(content, piece, *wanted) == [(len(content) - 10, bytes(10)), (804, member), (700, b"")]


def test_whole_content() -> None:
    """Content that is here as a whole needs no feeding."""
    assert read_whole(asking(Wanted(500, 3), Wanted(-3, 0)), CONTENT) == [(500, CONTENT[500:503]), (2997, CONTENT[-3:])]


PLACES = st.lists(st.tuples(st.integers(-50, 1200), st.integers(1, 300)).map(lambda each: Wanted(*each)), max_size=6)


@settings(deadline=None, max_examples=500)
@given(wanted=PLACES, size=st.integers(0, 1000), first=st.integers(1, 400), second=st.integers(1, 400))
def test_pieces_make_no_difference(wanted: list[Wanted], size: int, first: int, second: int) -> None:
    """Whatever is asked for, the answer is a function of the content."""
    content = CONTENT[:size]
    assert passed(content, first, *wanted) == passed(content, second, *wanted) == read(content, *wanted)
