"""The ``Range`` header of RFC 9110 section 14, for the unit ``bytes``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from litestar_filestore.errors import RangeNotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = (
    "MAX_RANGES",
    "MAX_RANGE_HEADER_CHARS",
    "ByteRange",
    "RangesBody",
    "parse_ranges",
)

MAX_RANGES: Final = 16
"""Most ranges answered one by one in a request: no player or download tool requests more."""
MAX_RANGE_HEADER_CHARS: Final = 1024
"""A longer header is ignored (CVE-2025-62727, CVE-2024-26141: time and response size grow with its length)."""

# Overhead of a part in a multipart response; it is cheaper to send smaller gaps than to leave them out.
_PART_OVERHEAD_BYTES = 80
# Match digits before int() sees them: it accepts "+5", "1_0" and Arabic digits. 19 digits are enough for any size.
_SPEC = re.compile(r"(?a:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))")
_BLANKS = " \t"


class ByteRange(NamedTuple):
    """Bytes of an object from `start` (inclusive) to `end` (exclusive); at least one."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """Return the value of ``Content-Range`` for this part of an object of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def parse_ranges(header: str, size: int, *, max_ranges: int = MAX_RANGES) -> tuple[ByteRange, ...]:
    """Return the ranges that a ``Range`` header requests, in its order, clipped to the object.

    Ranges that overlap or nearly touch are joined, in the position of the first.

    Args:
        header: Value of the header.
        size: Length of the object in bytes.
        max_ranges: Most ranges allowed.

    Returns:
        The ranges. Empty if the header must be ignored and the whole object sent: it is malformed, has another unit, is
        longer than 1,024 characters or names more than `max_ranges`, or the object is empty.

    Raises:
        RangeNotSatisfiableError: If no range begins within the object; `size` is set.
    """
    if size == 0 or len(header) > MAX_RANGE_HEADER_CHARS:
        # Content-Range cannot express a range of an empty object, and some clients always send "bytes=0-".
        return ()
    unit, _, rest = header.partition("=")
    specs = [each for spec in rest.split(",") if (each := spec.strip(_BLANKS))]
    if unit.strip(_BLANKS).lower() != "bytes" or not 0 < len(specs) <= max_ranges:
        return ()
    matches = [_SPEC.fullmatch(spec) for spec in specs]
    wanted: list[ByteRange] = []
    for match in matches:
        if match is None or _is_inverted(match):
            return ()  # one malformed range makes the whole header invalid (section 14.1.1)
        wanted.append(_resolve(match, size))
    satisfiable = [each for each in wanted if each.start < each.end]
    if not satisfiable:
        raise RangeNotSatisfiableError("No range begins within the object: choose a start below its size", size=size)
    return _joined(satisfiable)


def _is_inverted(match: re.Match[str]) -> bool:
    first, last, _ = match.groups()
    return last is not None and int(last) < int(first)


def _resolve(match: re.Match[str], size: int) -> ByteRange:
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(max(0, size - int(suffix)), size)
    return ByteRange(int(first), size if last is None else min(int(last) + 1, size))


def _joined(ranges: Iterable[ByteRange]) -> tuple[ByteRange, ...]:
    joined: list[ByteRange] = []
    for each in ranges:
        near = [
            other
            for other in joined
            if other.start <= each.end + _PART_OVERHEAD_BYTES and each.start <= other.end + _PART_OVERHEAD_BYTES
        ]
        if not near:
            joined.append(each)
            continue
        union = ByteRange(min(each.start, *(n.start for n in near)), max(each.end, *(n.end for n in near)))
        joined[joined.index(near[0])] = union
        for other in near[1:]:
            joined.remove(other)
    return tuple(joined)


class RangesBody(NamedTuple):
    """The multipart frame around several ranges. Its length is known before a byte of the object is read."""

    ranges: Sequence[ByteRange]
    """The ranges, in the order in which they are sent."""
    size: int
    """Length of the whole object in bytes."""
    part_type: str
    """Media type of the object."""
    boundary: str
    """Separates the parts. It must be random, because content that contains it would be cut there."""

    @property
    def content_type(self) -> str:
        """Media type of the response."""
        return f"multipart/byteranges; boundary={self.boundary}"

    @property
    def content_length(self) -> int:
        """Length of the response in bytes."""
        return sum(len(self.head_of(each)) + each.length for each in self.ranges) + len(self.tail)

    def head_of(self, part: ByteRange) -> bytes:
        """Return what comes before the bytes of a range, including the line break that ends the previous part."""
        lines = (
            f"\r\n--{self.boundary}",
            f"Content-Type: {self.part_type}",
            f"Content-Range: {part.content_range(self.size)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii")

    @property
    def tail(self) -> bytes:
        """The end of the response."""
        return f"\r\n--{self.boundary}--\r\n".encode("ascii")
