"""Limits on the dimensions of images."""

from __future__ import annotations

import os
import random
import struct

import pytest
from hypothesis import given, settings, strategies as st

from litestar_filestore import ImageSize
from litestar_filestore.errors import ConfigurationError, FileRejectedError, FileTypeNotAllowedError
from litestar_filestore.validation.checking import FileCheck
from litestar_filestore.validation.images import MEASURED, read_dimensions
from tests.effort import effort
from tests.validation.samples.images import (
    avif,
    bmp,
    box,
    gif,
    heif,
    icon,
    isobmff,
    jp2,
    jpeg,
    jxl,
    pcx,
    png,
    tga,
    tiff,
    webp,
)  # fmt: skip
from tests.validation.whole import read_whole

IMAGES = {
    "png": png(), "xcode": png()[:8] + struct.pack(">I", 4) + b"CgBI" + bytes(8) + png()[8:], "jpeg": jpeg(),
    "gif": gif(), "webp": webp(), "bmp": bmp(), "bmp from the top": bmp(3, -2), "tiff": tiff(),
    "bigtiff": tiff(big=True),
    "tiff of Motorola": tiff(order=">"), "avif": avif(), "heic": heif(b"heic"), "icon": icon(), "pcx": pcx(),
    "jp2": jp2(),
    "ppm": b"P6\n# 9 9\n3 # width\n2\n255\n\1" + bytes(17),
}  # fmt: skip


def judge(rule: ImageSize, content: bytes, *, piece: int = 10**9, name: str = "a") -> str | None:
    """Return the refusal of `rule` for content that arrives in pieces of this size."""
    check = FileCheck([rule], filename=name)
    first = max(piece, check.head_bytes)
    try:
        check.judge_head(content[:first], complete=first >= len(content))
        for at in range(first, len(content), piece):
            check.feed(content[at : at + piece])
        check.judge_end(len(content))
    except FileRejectedError as error:
        return error.detail
    return None


@pytest.mark.parametrize("content", IMAGES.values(), ids=list(IMAGES))
@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        (ImageSize(max_width=3, max_height=2, min_width=3, min_height=2, max_pixels=6), True),
        (ImageSize(max_width=2), False),
        (ImageSize(max_height=1), False),
        (ImageSize(min_width=4), False),
        (ImageSize(min_height=3), False),
        (ImageSize(max_pixels=5), False),
    ],
)
def test_limits(content: bytes, rule: ImageSize, accepted: bool) -> None:  # noqa: FBT001
    """Images of exactly the limits are allowed, in every format; one pixel beyond is not."""
    assert (judge(rule, content) is None) is accepted


def test_message() -> None:
    """The message tells limit and image."""
    assert judge(ImageSize(max_width=2), png()) == ("At most 2 pixels of width are allowed, the image has 3 x 2 pixels")


def test_decompression_bomb() -> None:
    """A few bytes that claim billions of pixels are refused without looking at any."""
    assert len(png(60_000, 60_000)) < 100
    assert judge(ImageSize(max_pixels=50_000_000), png(60_000, 60_000)) is not None


def test_dimensions_behind_metadata() -> None:
    """A JPEG with a thumbnail and a colour profile before its dimensions is read."""
    assert judge(ImageSize(max_width=3), jpeg(metadata_bytes=100_000)) is None


FAR: dict[str, bytes] = {
    "profile": jpeg(metadata_bytes=557_000),
    "directory at the end": tiff(pixels=300_000),
    "big directory at the end": tiff(pixels=300_000, big=True, order=">"),
    "header behind the pixels": heif(b"avif", before=box(b"mdat", bytes(200_000))),
}


@pytest.mark.parametrize("content", FAR.values(), ids=list(FAR))
@pytest.mark.parametrize("piece", [997, 65_536, 70_001, 10**9])
def test_dimensions_far_behind_the_beginning(content: bytes, piece: int) -> None:
    """Dimensions are found wherever they stand, and do not depend on the pieces in which the file arrives."""
    assert judge(ImageSize(max_width=3, max_height=2), content, piece=piece) is None
    assert judge(ImageSize(max_width=2), content, piece=piece) == (
        "At most 2 pixels of width are allowed, the image has 3 x 2 pixels"
    )


def test_upload_ends_when_the_dimensions_are_known() -> None:
    """An image that is too large is refused when its header has passed, not after gigabytes of pixels."""
    content = jpeg(width=9, metadata_bytes=200_000) + bytes(1_000_000)
    check = FileCheck([ImageSize(max_width=3)], filename="a.jpg")
    check.judge_head(content[:100_000], complete=False)
    with pytest.raises(FileRejectedError, match="9 x 2"):
        check.feed(content[100_000:300_000])


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (jxl(16, 8), (16, 8)),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", bytes(12)) + box(b"jxlc", jxl(24, 16)), (24, 16)),
    ],
)
def test_jpeg_xl(content: bytes, size: tuple[int, int]) -> None:
    """JPEG XL says its size bit by bit."""
    assert read_whole(read_dimensions("image/jxl"), content) == size


def test_truevision() -> None:
    """A TGA is measured where its name says what it is."""
    assert judge(ImageSize(max_width=3), tga(), name="a.tga") is None
    assert judge(ImageSize(max_width=2), tga(), name="a.tga") is not None


@pytest.mark.parametrize(
    ("kind", "data", "size"),
    [
        (b"VP8 ", b"\x30\1\0\x9d\x01\x2a" + struct.pack("<HH", 3, 2 | 0x4000), (3, 2)),
        (b"VP8L", b"\x2f" + struct.pack("<I", 2 | 1 << 14) + bytes(5), (3, 2)),
    ],
)
def test_webp_without_extensions(kind: bytes, data: bytes, size: tuple[int, int]) -> None:
    """The older headers of WebP are read, too."""
    content = b"RIFF" + struct.pack("<I", 30) + b"WEBP" + kind + struct.pack("<I", len(data)) + data
    assert read_whole(read_dimensions("image/webp"), content) == size


def test_picture_in_an_icon() -> None:
    """An icon's directory says at most 256 pixels: those of the picture in it count."""
    assert judge(ImageSize(max_width=256), icon(60_000, 60_000)) is not None


def test_largest_picture_counts() -> None:
    """Of several pictures in one file a decoder may take any."""
    small, large = (box(b"ispe", struct.pack(">III", 0, each, each)) for each in (3, 9000))
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", small + large)))
    content = box(b"ftyp", b"avif\0\0\0\0avif") + meta
    assert judge(ImageSize(max_width=3), content) is not None
    entry = box(b"av01", bytes(24) + struct.pack(">HH", 9000, 9000) + bytes(50))
    table = box(b"stbl", box(b"stsd", bytes(8) + entry))
    sequence = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", table))))
    assert judge(ImageSize(max_width=3), avif() + sequence) is not None


BROKEN = [png()[:20], jpeg()[:22], isobmff(b"avif", b"avif"), webp()[:24], icon()[:22], tiff()[:12], jp2()[:40]]


@pytest.mark.parametrize("content", BROKEN)
def test_broken_image(content: bytes) -> None:
    """An image without readable dimensions is refused."""
    assert (
        judge(ImageSize(max_width=3), content)
        == "The dimensions of the image cannot be read: save it again with an image editor"
    )


@pytest.mark.parametrize("content", [b"words", b"%PDF-1.7", b'<svg width="1" height="1"/>'])
def test_what_is_no_image(content: bytes) -> None:
    """Whatever is not measured in pixels is of a wrong type."""
    with pytest.raises(FileTypeNotAllowedError, match="Only images"):
        FileCheck([ImageSize(max_width=3)], filename="a").judge_head(content, complete=True)


SIZE = 128 * 1024
BEHIND_AVIF = box(b"ftyp", b"avif\0\0\0\0avif")


def far_extents() -> bytes:
    """An AVIF whose metadata lies in tens of thousands of extents, each of which has to be looked up."""
    locations = b"\1\x40\0\1" + struct.pack(">HHLH", 1, 0, 100, 65_535) + b"\x0c" * 65_535
    return BEHIND_AVIF + box(b"meta", bytes(4) + box(b"iloc", bytes(4) + locations) + box(b"idat", bytes(20_000)))


HOSTILE: dict[str, tuple[str, bytes]] = {
    "extents": ("image/avif", far_extents()),
    "locations": (
        "image/avif",
        BEHIND_AVIF + box(b"meta", bytes(4) + box(b"iloc", b"\2\0\0\0\x44\x40\xff\xff\xff\xff" + bytes(SIZE))),
    ),
    "boxes": ("image/avif", BEHIND_AVIF + box(b"free") * (SIZE // 8)),
    "containers": ("image/heic", BEHIND_AVIF + box(b"moov") * (SIZE // 8)),
    "properties": ("image/heic", BEHIND_AVIF + box(b"ispe", bytes(12)) * (SIZE // 20)),
    "segments": ("image/jpeg", b"\xff\xd8" + b"\xff\xe0\0\2" * (SIZE // 4)),
    "restarts": ("image/jpeg", b"\xff\xd8" + b"\xff\xd0" * (SIZE // 2)),
    "markers": ("image/jpeg", b"\xff\xd8" + b"\xff" * SIZE),
    "tags": ("image/tiff", b"II*\0\x08\0\0\0\xff\xff" + bytes(SIZE)),
    "width": ("image/tiff", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 1, 0) * (SIZE // 12)),
    "big tags": ("image/tiff", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * SIZE),
    "icons": ("image/vnd.microsoft.icon", b"\0\0\1\0\x40\0" + os.urandom(SIZE)),
    "comments": ("image/x-portable-pixmap", b"P6" + b"\n#" * (SIZE // 2)),
    "blanks": ("image/x-portable-pixmap", b"P6" + b" " * SIZE),
    "streams": ("image/jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"free") * (SIZE // 8)),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "content"), HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_image_takes_no_time(content_type: str, content: bytes) -> None:
    """Headers made to keep a parser busy are no more work than some million steps of plain Python, and have no size."""

    def read() -> None:
        assert read_whole(read_dimensions(content_type), content) is None

    assert effort(read) < 200


@settings(deadline=None)
@given(content_type=st.sampled_from(sorted(MEASURED)), content=st.binary(max_size=2000), seed=st.integers(0, 99))
def test_any_bytes_have_dimensions_or_none(content_type: str, content: bytes, seed: int) -> None:
    """No content makes an error."""
    known = random.Random(seed).choice(list(IMAGES.values()))
    for each in (content, known[: len(known) // 2] + content, known[:40] + content):
        found = read_whole(read_dimensions(content_type), each)
        assert found is None or (found[0] > 0 and found[1] > 0)


@pytest.mark.parametrize("limits", [{}, {"max_width": 0}, {"max_pixels": -1}])
def test_limits_that_are_none(limits: dict[str, int]) -> None:
    """A rule that allows everything or nothing is refused when it is written."""
    with pytest.raises(ConfigurationError):
        ImageSize(**limits)
