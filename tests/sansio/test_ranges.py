"""The grammar of ``Range``, against a slow and simple reading of the same rules."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from litestar_filestore.errors import RangeNotSatisfiableError
from litestar_filestore.sansio.ranges import MAX_RANGES, ByteRange, RangesBody, parse_ranges
from tests.effort import effort

SIZES = st.integers(1, 2000)
NUMBERS = st.integers(0, 2200)
SPECS = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    NUMBERS.map(lambda number: f"{number}-"),
    NUMBERS.map(lambda number: f"-{number}"),
)


def _bytes_of(spec: str, size: int) -> set[int]:
    first, last = spec.split("-")
    if not first:
        return set(range(size)[-int(last) :]) if int(last) else set()
    return {byte for byte in range(size) if int(first) <= byte <= (int(last) if last else size)}


@given(st.lists(SPECS, min_size=1, max_size=MAX_RANGES), SIZES)
def test_all_bytes_that_were_asked_for(specs: list[str], size: int) -> None:
    """The answer covers every byte of the request, nothing twice, and little besides."""
    asked = set().union(*(_bytes_of(spec, size) for spec in specs))
    header = f"bytes={','.join(specs)}"
    if not asked:
        with pytest.raises(RangeNotSatisfiableError) as caught:
            parse_ranges(header, size)
        assert caught.value.size == size
        return
    ranges = parse_ranges(header, size)
    sent = [byte for each in ranges for byte in range(each.start, each.end)]
    assert len(sent) == len(set(sent))
    assert asked <= set(sent) <= set(range(size))
    gaps = len(set(sent) - asked)
    assert gaps <= 80 * (len(specs) - len(ranges))


@given(st.text(max_size=40), SIZES)
def test_any_text_is_read_or_ignored(text: str, size: int) -> None:
    """No header makes anything but ranges within the object, nothing, or the one refusal."""
    for header in (text, f"bytes={text}"):
        try:
            ranges = parse_ranges(header, size)
        except RangeNotSatisfiableError:
            continue
        assert all(0 <= each.start < each.end <= size for each in ranges)


@pytest.mark.parametrize("digits", ["٣-٤", "１-２", "1_0-20", " 1 -2", "+1-2", "0-1\n", "1e3-"])
def test_other_spellings_of_numbers(digits: str) -> None:
    """What int() takes for a number besides ASCII digits is malformed here."""
    assert parse_ranges(f"bytes={digits}", 1000) == ()


def test_empty_objects_have_no_ranges() -> None:
    """An empty object is sent as a whole: Content-Range cannot name a part of it."""
    assert parse_ranges("bytes=0-", 0) == parse_ranges("bytes=-1", 0) == ()


@pytest.mark.parametrize("count", [16, 17])
def test_number_of_ranges(count: int) -> None:
    """Sixteen ranges are answered, seventeen are ignored."""
    header = "bytes=" + ",".join(f"{n * 1000}-{n * 1000}" for n in range(count))
    assert len(parse_ranges(header, 100_000)) == (16 if count == 16 else 0)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=" + ",".join(["0-0"] * 1000),
        "bytes=" + ",".join(["0-0"] * 200_000),
        "bytes=" + ",".join(f"{n}-" for n in range(100_000)),
        "bytes=" + "0" * 1_000_000 + "-",
        "bytes=" + "," * 1_000_000,
        "bytes=" + " " * 1_000_000 + "0-0",
        "=" * 1_000_000,
    ],
    ids=lambda header: f"{header[:12]}, {len(header)}",
)
def test_long_headers_take_no_time(header: str) -> None:
    """A header of a megabyte costs what looking at its length does."""

    def parse() -> None:
        for _ in range(1000):
            assert parse_ranges(header, 10_000_000) == ()

    assert effort(parse) < 200


def test_frames_have_the_length_they_announce() -> None:
    """The length of a multipart answer is known before its content is read."""
    ranges = (ByteRange(5, 10), ByteRange(0, 1), ByteRange(100, 1000))
    frame = RangesBody(ranges, 1000, "text/plain", "b" * 32)
    content = bytes(1000)
    body = b"".join(frame.head_of(each) + content[each.start : each.end] for each in ranges) + frame.tail
    assert len(body) == frame.content_length
