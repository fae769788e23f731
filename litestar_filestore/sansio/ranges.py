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
"""More ranges in one request are not answered one by one: no player or download tool asks for as many."""
MAX_RANGE_HEADER_CHARS: Final = 1024
"""A longer header is not read at all (CVE-2025-62727, CVE-2024-26141: time and answers that grow with it)."""

# What a part of a multipart answer costs beside its bytes; smaller gaps are cheaper to send than to leave out.
_PART_OVERHEAD_BYTES = 80
# Digits are matched, never handed to int() raw: that takes "+5", "1_0" and Arabic digits. 19 digits hold any size.
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
    """Return the ranges that a ``Range`` header asks for, in its order, cut to the object.

    Ranges that overlap, or nearly touch, are joined where the first of them stands.

    Args:
        header: Value of the header.
        size: Length of the object in bytes.
        max_ranges: Most ranges that are looked at.

    Returns:
        Empty if the header is to be ignored and the whole object to be sent: it is malformed, of another unit, longer
        than 1,024 characters, names more than `max_ranges`, or the object is empty.

    Raises:
        RangeNotSatisfiableError: If no range begins within the object; `size` is set.
    """
    if size == 0 or len(header) > MAX_RANGE_HEADER_CHARS:
        # No range of an empty object can be named in Content-Range, and some clients add "bytes=0-" to everything.
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
    """The frame around several ranges. Its length is known before a byte of the object is read."""

    ranges: Sequence[ByteRange]
    """Sent in this order."""
    size: int
    """Length of the whole object in bytes."""
    part_type: str
    """Media type of the object."""
    boundary: str
    """Separates the parts. It must be random: content that holds it would be cut there."""

    @property
    def content_type(self) -> str:
        """Media type of the answer."""
        return f"multipart/byteranges; boundary={self.boundary}"

    @property
    def content_length(self) -> int:
        """Length of the answer in bytes."""
        return sum(len(self.head_of(each)) + each.length for each in self.ranges) + len(self.tail)

    def head_of(self, part: ByteRange) -> bytes:
        """Return what stands before the bytes of a range, the line break that ends the part before it included."""
        lines = (
            f"\r\n--{self.boundary}",
            f"Content-Type: {self.part_type}",
            f"Content-Range: {part.content_range(self.size)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii")

    @property
    def tail(self) -> bytes:
        """The end of the answer."""
        return f"\r\n--{self.boundary}--\r\n".encode("ascii")
