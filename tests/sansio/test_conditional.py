"""Entity tags and dates, and what a request makes depend on them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from litestar_filestore.sansio.conditional import (
    Validators,
    check_preconditions,
    has_preconditions,
    if_range_holds,
    joined_headers,
    normal_etag,
    parse_http_date,
)
from tests.effort import effort

MOMENT = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
VALIDATORS = Validators('"v1"', MOMENT)

DATES = [
    ("Sun, 06 Nov 1994 08:49:37 GMT", MOMENT),
    ("Sunday, 06-Nov-94 08:49:37 GMT", MOMENT),
    ("Sun Nov  6 08:49:37 1994", MOMENT),
    ("sun, 06 nov 1994 08:49:37 gmt", MOMENT),
    ("Sun, 06 Nov 1994 08:49:60 GMT", MOMENT + 22),
    ("Sun, 6 Nov 1994 08:49:37 GMT", None),
    ("Sun, 06 Nov 1994 08:49:37", None),
    ("Sun, 06 Nov 1994 08:49:37 +0000", None),
    ("Sun, 06 Nov 1994 24:49:37 GMT", None),
    ("Sun, 31 Feb 1994 08:49:37 GMT", None),
    ("Sun, 06 Foo 1994 08:49:37 GMT", None),
    ("Sun, 06 Nov 0000 08:49:37 GMT", None),
    ("Sun, ٠٦ Nov 1994 08:49:37 GMT", None),
    ("Sun, 06 Nov 1994 8:49:037 GMT", None),
    ("784111777", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "seconds"), DATES)
def test_dates(text: str, seconds: int | None) -> None:
    """The three forms of RFC 9110 are read, everything else is no date."""
    assert parse_http_date(text) == seconds


@given(st.integers(0, 4_102_444_800))
def test_dates_come_back(seconds: int) -> None:
    """What is sent as Last-Modified is understood when it returns."""
    text = Validators(None, seconds).http_date
    assert text is not None
    assert parse_http_date(text) == seconds


def test_two_digits_of_a_year_are_near() -> None:
    """A year of two digits that seems more than 50 years ahead is one of the past."""
    this_year = datetime.now(UTC).year
    for ahead in (0, 1, 50):
        found = parse_http_date(f"Monday, 01-Jan-{(this_year + ahead) % 100:02} 00:00:00 GMT")
        assert found == datetime(this_year + ahead, 1, 1, tzinfo=UTC).timestamp()
    found = parse_http_date(f"Monday, 01-Jan-{(this_year + 51) % 100:02} 00:00:00 GMT")
    assert found == datetime(this_year - 49, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("etag", "normal"),
    [
        ('"a"', '"a"'),
        ('W/"a"', 'W/"a"'),
        ("d41d8cd9", '"d41d8cd9"'),
        ('""', '""'),
        ("", None),
        (None, None),
        ('a"b', None),
        ("a b", None),
        ("a\r\nSet-Cookie: x", None),
        ("日", None),
    ],
)
def test_tags_of_stores(etag: str | None, normal: str | None) -> None:
    """A store's tag is sent with quotes, or not at all."""
    assert normal_etag(etag) == normal


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ('"v1"', True),
        ('W/"v1"', True),
        ('"v0", "v1"', True),
        (',, "v0"\t,"v1" ,', True),
        ("*", True),
        (" * ", True),
        ('"a,"v1",b"', False),
        ('"v0"', False),
        ("v1", False),
        ('"v1', False),
        ('w/"v1"', False),
        ('"v1" "v2"', False),
        ('*, "v1"', False),
        ("", False),
    ],
)
def test_lists_of_tags(header: str, matches: bool) -> None:  # noqa: FBT001  # a table
    """A list matches if it is well-formed and names the tag; commas within tags separate nothing."""
    assert check_preconditions("GET", {"if-none-match": header}, VALIDATORS) == (304 if matches else 200)


def test_lines_of_one_name_are_joined() -> None:
    """Several lines are one list in the order of the lines, in whatever case their name is written."""
    lines = [(b"If-Match", b'"a"'), (b"range", b"bytes=0-"), (b"if-match", b'"b\xe9"')]
    assert joined_headers(lines) == {"if-match": '"a", "b\u00e9"', "range": "bytes=0-"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_writes_are_refused_where_reads_are_not_modified(method: str) -> None:
    """If-None-Match protects a write by 412, and If-Modified-Since is for reads only."""
    assert check_preconditions(method, {"if-none-match": "*"}, VALIDATORS) == 412
    assert check_preconditions(method, {"if-modified-since": VALIDATORS.http_date or ""}, VALIDATORS) == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET"])
def test_nothing_is_no_version(method: str) -> None:
    """Where there is no representation, If-Match names none of it, not even by the star; everything else holds."""
    date = Validators(None, MOMENT).http_date or ""
    wanted = [{"if-match": "*"}, {"if-match": '"v1"'}, {"if-none-match": "*"}, {"if-unmodified-since": date}, {}]
    assert [check_preconditions(method, each, None) for each in wanted] == [412, 412, 200, 200, 200]


def test_what_a_change_may_be_held_to() -> None:
    """The three conditions of changes are told from those of reads."""
    assert [has_preconditions({each: "*"}) for each in ("if-match", "if-none-match", "if-unmodified-since")] == [
        True
    ] * 3
    assert not has_preconditions({"if-modified-since": "", "if-range": "", "range": ""})


def test_nothing_known_matches_nothing() -> None:
    """An object without tag and date satisfies no condition but the star."""
    unknown = Validators()
    assert check_preconditions("GET", {"if-match": '"v1"'}, unknown) == 412
    assert check_preconditions("GET", {"if-match": "*"}, unknown) == 200
    assert check_preconditions("GET", {"if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT"}, unknown) == 200
    assert not if_range_holds('"v1"', unknown)
    assert not if_range_holds("Sun, 06 Nov 1994 08:49:37 GMT", unknown)


def test_a_weak_tag_never_joins_two_parts() -> None:
    """Two versions of equal meaning may differ in bytes."""
    assert not if_range_holds('W/"v1"', Validators('W/"v1"', MOMENT))
    assert not if_range_holds('"v1"', Validators('W/"v1"', MOMENT))
    assert if_range_holds('"v1"', VALIDATORS)


@pytest.mark.parametrize(
    "header",
    [
        '"a",' * 250_000,
        ' ,"' * 300_000,
        '"' * 1_000_000,
        '"a"' + " " * 1_000_000 + "x",
        'W/"' * 300_000,
        "," * 1_000_000,
    ],
    ids=lambda header: header[:6],
)
def test_long_headers_take_no_time(header: str) -> None:
    """A megabyte of tags or of their beginnings is not searched."""

    def check() -> None:
        for name in ("if-match", "if-none-match", "if-modified-since"):
            check_preconditions("GET", {name: header}, VALIDATORS)

    assert effort(check) < 200


@pytest.mark.parametrize("header", ['"a",' * 2000, ' ,"' * 2600, '"' * 8000, '"a"' + " " * 8000 + "x", "," * 8000])
def test_the_longest_list_is_searched_quickly(header: str) -> None:
    """No list of the allowed length makes the search go back and forth."""
    assert effort(lambda: check_preconditions("GET", {"if-none-match": header}, VALIDATORS)) < 100
