"""Reads the dimensions of images from their headers, without decoding anything.

Each reader looks at a limited number of segments, boxes or tags, so its time is bounded for any input.
"""

from __future__ import annotations

import re
import struct
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, TypeAlias

from litestar_filestore.core.rule import Candidate, FileRule, Wanted
from litestar_filestore.errors import ConfigurationError, FileTypeNotAllowedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar_filestore.core.rule import Answer, Reading

__all__ = (
    "MEASURED",
    "ImageSize",
    "read_dimensions",
)

Dimensions: TypeAlias = tuple[int, int]

_MOST_SEGMENTS = 4096
_MOST_BOXES = 2048
_MOST_ICONS = 64
_MOST_TAGS = 4096
_AHEAD_BYTES = 1024
_NO_DIMENSIONS = (0, 0)


def read_dimensions(content_type: str) -> Reading[Dimensions | None]:
    """Read the width and height in pixels of an image of a type that is `MEASURED`; ``None`` if they cannot be read.

    They are those of the stored raster, before any rotation requested by metadata. If a file holds several pictures,
    the first one counts, or the largest if a decoder may take any of them.
    """
    width, height = yield from _READERS[content_type]()
    return (width, height) if width > 0 and height > 0 else None


def _fixed(length: int, find: Callable[[bytes], Dimensions]) -> Callable[[], Reading[Dimensions]]:
    """Return a reader for headers of a fixed length."""

    def read() -> Reading[Dimensions]:
        head = (yield Wanted(0, length)).data
        return find(head) if len(head) == length else _NO_DIMENSIONS

    return read


def _at(form: str, at: int) -> Callable[[bytes], Dimensions]:
    return lambda head: struct.unpack_from(form, head, at)


def _read_png() -> Reading[Dimensions]:
    head = (yield Wanted(0, 40)).data
    at = 16 if head[12:16] == b"IHDR" else 32  # Xcode puts a chunk of four bytes before the header
    if head[at - 4 : at] != b"IHDR" or len(head) < at + 8:
        return _NO_DIMENSIONS
    width, height = struct.unpack_from(">II", head, at)
    return width, height


def _read_jpeg() -> Reading[Dimensions]:
    """Go from segment to segment until a frame begins (ITU T.81 §B.2)."""
    piece = yield Wanted(0, _AHEAD_BYTES)
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 16 > piece.offset + len(piece.data) and len(piece.data) == _AHEAD_BYTES:
            piece = yield Wanted(at, _AHEAD_BYTES)
        segment = piece.data[at - piece.offset : at - piece.offset + 16]
        if len(segment) < 4 or segment[0] != 0xFF:
            break
        marker = segment[1]
        if marker == 0xFF:  # any number of fill bytes may come before a marker
            at += len(segment) - len(segment.lstrip(b"\xff")) - 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", segment, 5) if len(segment) >= 9 else _NO_DIMENSIONS
            return width, height
        elif marker in {0x01, 0xD8} or 0xD0 <= marker <= 0xD7:
            at += 2
        elif marker in {0x00, 0xD9, 0xDA}:
            break
        else:
            at += 2 + max(struct.unpack_from(">H", segment, 2)[0], 2)
    return _NO_DIMENSIONS


_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _webp(head: bytes) -> Dimensions:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and head[20] == 0x2F:
        packed = int.from_bytes(head[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return _NO_DIMENSIONS


def _read_webp() -> Reading[Dimensions]:
    head = (yield Wanted(0, 30)).data
    return _webp(head) if len(head) >= 25 and (len(head) == 30 or head[12:16] == b"VP8L") else _NO_DIMENSIONS


def _bmp(head: bytes) -> Dimensions:
    if struct.unpack_from("<I", head, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)  # a negative height means that the rows run from top to bottom


def _read_tiff() -> Reading[Dimensions]:
    """Read the first directory, which may be anywhere (TIFF 6.0 §2, and BigTIFF)."""
    head = (yield Wanted(0, 16)).data
    order, big = "<" if head.startswith(b"II") else ">", head[2:4] in {b"+\0", b"\0+"}
    if len(head) < 16:
        return _NO_DIMENSIONS
    at = struct.unpack_from(order + "Q", head, 8)[0] if big else struct.unpack_from(order + "I", head, 4)[0]
    counted = (yield Wanted(at, 8 if big else 2)).data
    if len(counted) < (8 if big else 2):
        return _NO_DIMENSIONS
    count, tag_bytes = struct.unpack(order + ("Q" if big else "H"), counted)[0], 20 if big else 12
    tags = (yield Wanted(at + len(counted), min(count, _MOST_TAGS) * tag_bytes)).data
    values = dict(_tags(tags[: len(tags) // tag_bytes * tag_bytes], order, big=big))
    return values.get(256, 0), values.get(257, 0)


def _tags(tags: bytes, order: str, *, big: bool) -> Iterator[tuple[int, int]]:
    for tag, kind, _, value in struct.iter_unpack(order + ("HHQ8s" if big else "HHI4s"), tags):
        form = {3: "H", 4: "I", 16: "Q"}.get(kind)
        if tag in {256, 257} and form is not None and struct.calcsize(form) <= len(value):
            yield tag, struct.unpack_from(order + form, value)[0]


def _read_icon() -> Reading[Dimensions]:
    """Read the headers of all pictures: the directory says at most 256 pixels, whatever the size of the picture."""
    head = (yield Wanted(0, 6)).data
    count = struct.unpack_from("<H", head, 4)[0] if len(head) == 6 else 0
    if not 0 < count <= _MOST_ICONS:
        return _NO_DIMENSIONS
    directory = (yield Wanted(6, 16 * count)).data
    largest = _NO_DIMENSIONS
    for at in sorted({struct.unpack_from("<I", directory, each)[0] for each in range(12, len(directory) - 3, 16)}):
        picture = (yield Wanted(at, 24)).data
        if len(picture) < 24:
            return _NO_DIMENSIONS
        if picture.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", picture, 16)
        else:
            width, height = struct.unpack_from("<ii", picture, 4)
            height = abs(height) // 2  # the picture, and below it the mask
        largest = max(largest, (width, height), key=lambda each: each[0] * each[1])
    return largest


def _read_boxes() -> Reading[Dimensions]:
    """Read the largest picture of AVIF, HEIF or JPEG 2000 (ISO 23008-12 §6.5.3, ISO 15444-1 §I.5.3).

    The picture that is shown may be composed of tiles or belong to a film, so the largest one counts.
    """
    largest = _NO_DIMENSIONS
    at = 0
    piece = yield Wanted(0, _AHEAD_BYTES)
    for _ in range(_MOST_BOXES):
        if at + 64 > piece.offset + len(piece.data) and len(piece.data) == _AHEAD_BYTES:
            piece = yield Wanted(at, _AHEAD_BYTES)
        start = at - piece.offset
        if start < 0 or len(piece.data) < start + 8:
            return largest
        size, name = struct.unpack_from(">I4s", piece.data, start)
        content = start + 8
        if size == 1 and len(piece.data) >= start + 16:
            size, content = int.from_bytes(piece.data[start + 8 : start + 16], "big"), start + 16
        if name in _DIMENSIONS_AT:
            form, place = _DIMENSIONS_AT[name]
            if len(piece.data) >= content + place + struct.calcsize(form):
                first, second = struct.unpack_from(form, piece.data, content + place)
                found = (second, first) if name == b"ihdr" else (first, second)
                largest = max(largest, found, key=lambda each: each[0] * each[1])
        elif name in _CONTAINERS:
            size = content - start + _CONTAINERS[name]
        if size < 8:
            return largest
        at += size
    return _NO_DIMENSIONS  # too many boxes to know what comes after them


# Offset of the dimensions in the content of a box, a property or a sample entry (ISO 14496-12 §12.1.3).
_DIMENSIONS_AT = {
    b"ispe": (">II", 4),
    b"ihdr": (">II", 0),
    **dict.fromkeys((b"av01", b"hvc1", b"hev1", b"avc1", b"vvc1", b"jpeg", b"mjpg"), (">HH", 24)),
}
# Boxes that hold others, and the number of bytes before the first of those.
_CONTAINERS = {
    **dict.fromkeys((b"iprp", b"ipco", b"jp2h", b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0),
    b"meta": 4,
    b"stsd": 8,
}


def _read_jxl() -> Reading[Dimensions]:
    """Read the header of a code stream, alone or in a box (ISO 18181-1 §D.1.2, 18181-2 §9)."""
    piece = yield Wanted(0, 32)
    at = 0
    if piece.data.startswith(b"\0\0\0\x0cJXL "):
        for _ in range(64):
            size, name = struct.unpack_from(">I4s", piece.data) if len(piece.data) >= 8 else (0, b"")
            if name in {b"jxlc", b"jxlp"}:
                at = 12 if name == b"jxlp" else 8
                break
            if size < 8:
                return _NO_DIMENSIONS
            piece = yield Wanted(piece.offset + size, 32)
    stream = piece.data[at : at + 16]
    return _jxl(int.from_bytes(stream[2:], "little")) if stream.startswith(b"\xff\x0a") else _NO_DIMENSIONS


_JXL_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _jxl(bits: int) -> Dimensions:
    small, bits = bits & 1, bits >> 1
    height, bits = _jxl_number(bits, small)
    ratio, bits = bits & 7, bits >> 3
    if ratio:
        over, under = _JXL_RATIOS[ratio - 1]
        return height * over // under, height
    return _jxl_number(bits, small)[0], height


def _jxl_number(bits: int, small: int) -> tuple[int, int]:
    if small:
        return 8 * (1 + (bits & 31)), bits >> 5
    length, bits = _JXL_BITS[bits & 3], bits >> 2
    return 1 + (bits & (1 << length) - 1), bits >> length


_COMMENT = re.compile(rb"#[^\n]*")


def _read_portable() -> Reading[Dimensions]:
    words = _COMMENT.sub(b" ", (yield Wanted(0, 512)).data).split()[1:3]
    if len(words) < 2 or not all(each.isdigit() and len(each) < 10 for each in words):
        return _NO_DIMENSIONS
    return int(words[0]), int(words[1])


def _pcx(head: bytes) -> Dimensions:
    left, top, right, bottom = struct.unpack_from("<4H", head, 4)
    return right - left + 1, bottom - top + 1


def _psd(head: bytes) -> Dimensions:
    height, width = struct.unpack_from(">II", head, 14)
    return width, height


_READERS: dict[str, Callable[[], Reading[Dimensions]]] = {
    "image/apng": _read_png,
    "image/avif": _read_boxes,
    "image/bmp": _fixed(26, _bmp),
    "image/gif": _fixed(10, _at("<HH", 6)),
    "image/heic": _read_boxes,
    "image/heif": _read_boxes,
    "image/jp2": _read_boxes,
    "image/jpeg": _read_jpeg,
    "image/jpm": _read_boxes,
    "image/jpx": _read_boxes,
    "image/jxl": _read_jxl,
    "image/png": _read_png,
    "image/qoi": _fixed(12, _at(">II", 4)),
    "image/tiff": _read_tiff,
    "image/vnd.adobe.photoshop": _fixed(22, _psd),
    "image/vnd.microsoft.icon": _read_icon,
    "image/vnd.zbrush.pcx": _fixed(12, _pcx),
    "image/webp": _read_webp,
    "image/x-cmu-raster": _fixed(12, _at(">II", 4)),
    "image/x-portable-bitmap": _read_portable,
    "image/x-portable-graymap": _read_portable,
    "image/x-portable-pixmap": _read_portable,
    "image/x-rgb": _fixed(10, _at(">HH", 6)),
    "image/x-tga": _fixed(16, _at("<HH", 12)),
}
MEASURED = frozenset(_READERS)
"""The types whose dimensions can be read."""


@dataclass(frozen=True)
class ImageSize(FileRule):
    """Refuses images beyond these dimensions, and everything that has no dimensions in pixels.

    A file of a few kilobytes can claim billions of pixels, and take that much memory in whatever decodes it later. The
    dimensions are those of the stored raster, before any rotation requested by metadata. They may be anywhere in the
    file: in a JPEG they come after the metadata, and in a TIFF they may come at the end.
    """

    _: KW_ONLY
    max_width: int | None = None
    """In pixels."""
    max_height: int | None = None
    """In pixels."""
    min_width: int | None = None
    """In pixels."""
    min_height: int | None = None
    """In pixels."""
    max_pixels: int | None = None
    """Width times height."""

    judges_type = True

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            ConfigurationError: If there is no limit, or one below 1.
        """
        limits = (self.max_width, self.max_height, self.min_width, self.min_height, self.max_pixels)
        given = [each for each in limits if each is not None]
        if not given or min(given) < 1:
            raise ConfigurationError("ImageSize needs limits of 1 pixel or more, for example ImageSize(max_width=4000)")

    def at_head(self, file: Candidate) -> str | None:
        """Refuse what is not an image."""
        if file.content_type not in MEASURED:
            raise FileTypeNotAllowedError(f"Only images are allowed here, not files of type {file.content_type}")
        return None

    def read(self, file: Candidate) -> Reading[Answer] | None:
        """Refuse by the dimensions in the header."""
        return self._judge(file.content_type) if file.content_type in MEASURED else None

    def _judge(self, content_type: str) -> Reading[Answer]:
        size = yield from read_dimensions(content_type)
        if size is None:
            return "The dimensions of the image cannot be read: save it again with an image editor"
        return next(self._complaints(*size), None)

    def _complaints(self, width: int, height: int) -> Iterator[str]:
        here = f"the image has {width} x {height} pixels"
        if self.max_width is not None and width > self.max_width:
            yield f"At most {self.max_width} pixels of width are allowed, {here}"
        if self.max_height is not None and height > self.max_height:
            yield f"At most {self.max_height} pixels of height are allowed, {here}"
        if self.min_width is not None and width < self.min_width:
            yield f"At least {self.min_width} pixels of width are needed, {here}"
        if self.min_height is not None and height < self.min_height:
            yield f"At least {self.min_height} pixels of height are needed, {here}"
        if self.max_pixels is not None and width * height > self.max_pixels:
            yield f"At most {self.max_pixels} pixels are allowed, {here}"
