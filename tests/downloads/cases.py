"""What RFC 9110 wants, as a table: the request, the status, and which bytes of 1,000.

Values may name ``{etag}`` and ``{date}`` of the object, ``{before}`` and ``{after}`` for dates a day apart from it.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("CASES", "Case")


class Case(NamedTuple):
    """One request, and what it has to lead to."""

    name: str
    headers: tuple[tuple[str, str], ...]
    status: int
    parts: tuple[tuple[int, int], ...] = ()
    method: str = "GET"


def _range(value: str, status: int, *parts: tuple[int, int], **others: str) -> Case:
    more = tuple((name.replace("_", "-"), text) for name, text in others.items())
    label = "".join(f" {name} {text}" for name, text in more)
    return Case(f"{value}{label}", (("Range", value), *more), status, parts)


def _when(status: int, method: str = "GET", /, **headers: str) -> Case:
    given = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Case(f"{method} " + " ".join(f"{n}:{v}" for n, v in given), given, status, ((0, 1000),), method)


_TENTHS = range(0, 1000, 100)

RANGES = (
    _range("bytes=0-0", 206, (0, 1)),
    _range("bytes=0-499", 206, (0, 500)),
    _range("bytes=500-999", 206, (500, 1000)),
    _range("bytes=999-999", 206, (999, 1000)),
    _range("bytes=0-", 206, (0, 1000)),
    _range("bytes=999-", 206, (999, 1000)),
    _range("bytes=0-1000", 206, (0, 1000)),
    _range("bytes=990-99999999999999999", 206, (990, 1000)),
    _range("bytes=990-9999999999999999999", 206, (990, 1000)),
    _range("bytes=-1", 206, (999, 1000)),
    _range("bytes=-1000", 206, (0, 1000)),
    _range("bytes=-1001", 206, (0, 1000)),
    _range("bytes=-9999999999999999999", 206, (0, 1000)),
    _range("BYTES=5-9", 206, (5, 10)),
    _range("bytes= 5-9", 206, (5, 10)),
    _range("bytes=5-9 ", 206, (5, 10)),
    _range("bytes=,5-9", 206, (5, 10)),
    _range("bytes=5-9,,", 206, (5, 10)),
    _range("bytes=007-0009", 206, (7, 10)),
    _range("bytes=1000-", 416),
    _range("bytes=1000-1001", 416),
    _range("bytes=9999999999999999999-", 416),
    _range("bytes=-0", 416),
    _range("bytes=1000-,2000-3000", 416),
    # Malformed: the header is ignored, so the whole object comes.
    _range("bytes=9-5", 200, (0, 1000)),
    _range("bytes=0-1,9-5", 200, (0, 1000)),
    _range("bytes=", 200, (0, 1000)),
    _range("bytes=-", 200, (0, 1000)),
    _range("bytes", 200, (0, 1000)),
    _range("bytes=a-b", 200, (0, 1000)),
    _range("bytes=0x1-5", 200, (0, 1000)),
    _range("bytes=+1-5", 200, (0, 1000)),
    _range("bytes=1_0-20", 200, (0, 1000)),
    _range("bytes=--5", 200, (0, 1000)),
    _range("bytes=5--", 200, (0, 1000)),
    _range("bytes=1-2-3", 200, (0, 1000)),
    _range("bytes=5 - 9", 200, (0, 1000)),
    _range("bytes=5-9;6-7", 200, (0, 1000)),
    _range("bytes:5-9", 200, (0, 1000)),
    _range("items=0-5", 200, (0, 1000)),
    _range("bytes=99999999999999999999-", 200, (0, 1000)),
    _range("bytes=0-0,bytes=5-9", 200, (0, 1000)),
    # Several: in the order of the request, joined where they overlap or nearly touch.
    _range("bytes=0-9,500-509", 206, (0, 10), (500, 510)),
    _range("bytes=500-509, 0-9", 206, (500, 510), (0, 10)),
    _range("bytes=0-9,-10", 206, (0, 10), (990, 1000)),
    _range("bytes=0-9\t,\t300-309,600-609", 206, (0, 10), (300, 310), (600, 610)),
    _range("bytes=0-9,5-19", 206, (0, 20)),
    _range("bytes=0-9,10-19", 206, (0, 20)),
    _range("bytes=0-9,60-69", 206, (0, 70)),
    _range("bytes=0-0,0-0,0-0", 206, (0, 1)),
    _range("bytes=0-9,300-309,5-302", 206, (0, 310)),
    _range("bytes=0-9,1000-2000", 206, (0, 10)),
    _range("bytes=0-,-1", 206, (0, 1000)),
    _range(
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 1000, 100)), 206, *((n, n + 1) for n in range(0, 1000, 100))
    ),
    _range("bytes=" + ",".join(f"{n}-{n}" for n in range(17)), 200, (0, 1000)),
)

IF_RANGES = (
    _range("bytes=0-9", 206, (0, 10), If_Range="{etag}"),
    _range("bytes=0-9", 206, (0, 10), If_Range="{date}"),
    _range("bytes=0-9", 200, (0, 1000), If_Range='"other"'),
    _range("bytes=0-9", 200, (0, 1000), If_Range="W/{etag}"),
    _range("bytes=0-9", 200, (0, 1000), If_Range="{before}"),
    _range("bytes=0-9", 200, (0, 1000), If_Range="{after}"),
    _range("bytes=0-9", 200, (0, 1000), If_Range="nonsense"),
    _range("bytes=0-9", 200, (0, 1000), If_Range='{etag}, "other"'),
    _range("bytes=1000-", 200, (0, 1000), If_Range='"other"'),
    _range("bytes=1000-", 416, If_Range="{etag}"),
    _range("bytes=0-9", 304, If_None_Match="{etag}"),
    _range("bytes=0-9", 412, If_Match='"other"'),
    _range("bytes=0-9", 206, (0, 10), If_Match="{etag}"),
    _range("bytes=0-9", 412, If_Unmodified_Since="{before}"),
)

PRECONDITIONS = (
    Case("no condition", (), 200, ((0, 1000),)),
    Case("HEAD", (), 200, ((0, 1000),), "HEAD"),
    Case("HEAD ignores a range", (("Range", "bytes=0-1"),), 200, ((0, 1000),), "HEAD"),
    _when(200, If_Match="{etag}"),
    _when(200, If_Match="*"),
    _when(200, If_Match='"a", {etag}'),
    _when(200, If_Match='"a,b" ,\t{etag},'),
    _when(412, If_Match='"a"'),
    _when(412, If_Match="W/{etag}"),
    _when(412, If_Match="nonsense"),
    _when(412, "HEAD", If_Match='"a"'),
    _when(304, If_None_Match="{etag}"),
    _when(304, If_None_Match="W/{etag}"),
    _when(304, If_None_Match="*"),
    _when(304, If_None_Match='"a", W/"b", {etag}'),
    _when(304, "HEAD", If_None_Match="{etag}"),
    _when(200, If_None_Match='"a"'),
    _when(200, If_None_Match='"a'),
    _when(200, If_None_Match='{etag} "a"'),
    _when(304, If_Modified_Since="{date}"),
    _when(304, If_Modified_Since="{after}"),
    _when(200, If_Modified_Since="{before}"),
    _when(200, If_Modified_Since="nonsense"),
    _when(304, "HEAD", If_Modified_Since="{date}"),
    _when(200, If_Unmodified_Since="{date}"),
    _when(200, If_Unmodified_Since="{after}"),
    _when(412, If_Unmodified_Since="{before}"),
    _when(200, If_Unmodified_Since="nonsense"),
    # The order of section 13.2.2: tags go before dates, If-Match before If-None-Match.
    _when(200, If_None_Match='"a"', If_Modified_Since="{after}"),
    _when(304, If_None_Match="{etag}", If_Modified_Since="{before}"),
    _when(200, If_Match="{etag}", If_Unmodified_Since="{before}"),
    _when(412, If_Match='"a"', If_Unmodified_Since="{after}"),
    _when(412, If_Match='"a"', If_None_Match="{etag}"),
    _when(304, If_Match="{etag}", If_None_Match="{etag}"),
    _when(304, If_Unmodified_Since="{date}", If_Modified_Since="{date}"),
)

CASES = (*RANGES, *IF_RANGES, *PRECONDITIONS)
