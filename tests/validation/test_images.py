"""Limits on the dimensions of images."""

from __future__ import annotations

import struct
import subprocess
import sys
import time

import pytest

from litestar_filestore import ImageSize
from litestar_filestore.errors import ConfigurationError, FileRejectedError, FileTypeNotAllowedError
from litestar_filestore.validation.checking import FileCheck
from tests.validation.samples import SAMPLES, gif, isobmff, jpeg, png

WEBP = SAMPLES["a.webp"][0]
BMP = SAMPLES["a.bmp"][0]


def judge(rule: ImageSize, content: bytes) -> str | None:
    """Return the refusal of `rule`, as it would come with the first bytes."""
    check = FileCheck([rule], filename="a")
    try:
        check.judge_head(content[: check.head_bytes], complete=False)
    except FileRejectedError as error:
        return error.detail
    return None


@pytest.mark.parametrize("content", [png(), jpeg(), gif(), WEBP, BMP], ids=["png", "jpeg", "gif", "webp", "bmp"])
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


def test_dimensions_out_of_sight() -> None:
    """An image whose dimensions are too far away is refused, not waved through."""
    assert judge(ImageSize(max_width=3), jpeg(metadata_bytes=300_000)) == "The dimensions of the image cannot be read"


@pytest.mark.parametrize("content", [png()[:20], jpeg()[:22], isobmff(b"avif", b"avif"), WEBP[:20]])
def test_broken_image(content: bytes) -> None:
    """An image without readable dimensions is refused."""
    assert judge(ImageSize(max_width=3), content) == "The dimensions of the image cannot be read"


@pytest.mark.parametrize("content", [b"words", b"%PDF-1.7", b'<svg width="1" height="1"/>'])
def test_what_is_no_image(content: bytes) -> None:
    """Whatever is not measured in pixels is of a wrong type."""
    with pytest.raises(FileTypeNotAllowedError, match="Only images"):
        FileCheck([ImageSize(max_width=3)], filename="a").judge_head(content, complete=True)


def box(name: bytes, content: bytes) -> bytes:
    """A box of MPEG-4's family."""
    return struct.pack(">I", 8 + len(content)) + name + content


@pytest.mark.parametrize(
    "content",
    [
        isobmff(b"avif", b"avif")
        + box(b"meta", bytes(4) + box(b"iloc", b"\2\0\0\0\x44\x40\xff\xff\xff\xff" + bytes(130_000))),
        isobmff(b"avif", b"avif") + box(b"free", b"") * 15_000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 30_000,
        b"\xff\xd8" + b"\xff" * 130_000,
        b"II*\0\x08\0\0\0\xff\xff" + bytes(130_000),
    ],
    ids=["locations", "boxes", "segments", "markers", "tags"],
)
def test_hostile_image_takes_no_time(content: bytes) -> None:
    """Headers made to keep a parser busy are refused in well under a second."""
    begin = time.process_time()
    assert judge(ImageSize(max_width=3), content) is not None
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("limits", [{}, {"max_width": 0}, {"max_pixels": -1}])
def test_limits_that_are_none(limits: dict[str, int]) -> None:
    """A rule that allows everything or nothing is refused when it is written."""
    with pytest.raises(ConfigurationError):
        ImageSize(**limits)


def test_missing_library() -> None:
    """Without the extra the rule says what to install, when it is written."""
    program = (
        "import sys; sys.modules['imagesize'] = None\n"
        "from litestar_filestore import ImageSize\n"
        "try:\n    ImageSize(max_width=1)\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "litestar-filestore[images]" in done.stdout
