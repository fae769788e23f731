"""Limits on the dimensions of images, read from their headers. Nothing is decoded."""

from __future__ import annotations

import io
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.core.rules import Candidate, FileRule
from litestar_filestore.errors import ConfigurationError, FileTypeNotAllowedError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("ImageSize",)

# Only what is measured in pixels: the library would hand SVG to an XML parser.
_RASTER = frozenset({
    "image/apng", "image/avif", "image/bmp", "image/gif", "image/heic", "image/heif", "image/jpeg", "image/jpx",
    "image/png", "image/tiff", "image/webp",
})  # fmt: skip


@dataclass(frozen=True)
class ImageSize(FileRule):
    """Refuses images beyond these dimensions, and everything that is no image; needs the extra ``images``.

    A few kilobytes can claim billions of pixels, and take that much memory in whatever decodes them later. Dimensions
    are those of the stored raster, before a rotation that metadata may ask for.
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

    # A JPEG says its size behind its metadata: a thumbnail and a colour profile, in segments of 64 KiB at most.
    head_bytes = 128 * 1024
    judges_type = True

    def __post_init__(self) -> None:
        """Check limits and the library.

        Raises:
            ConfigurationError: If there is no limit, or one below 1.
            MissingDependencyError: If the library is not installed.
        """
        limits = (self.max_width, self.max_height, self.min_width, self.min_height, self.max_pixels)
        given = [each for each in limits if each is not None]
        if not given or min(given) < 1:
            raise ConfigurationError("ImageSize takes limits in pixels, from 1 on")
        _library()

    def at_head(self, file: Candidate) -> str | None:
        """Refuse by the dimensions in the header."""
        if file.content_type not in _RASTER:
            raise FileTypeNotAllowedError(f"Only images are allowed here, not files of type {file.content_type}")
        size = _dimensions(file.head)
        if size is None:
            return "The dimensions of the image cannot be read"
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


def _dimensions(head: bytes) -> tuple[int, int] | None:
    try:
        width, height = cast("tuple[int, int]", _library().get(io.BytesIO(head)))
    except Exception:  # noqa: BLE001  # broken headers end in all kinds of errors; the image is refused for it
        return None
    return (width, height) if width > 0 and height > 0 else None


def _library() -> Any:
    try:
        import imagesize  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingDependencyError("ImageSize needs: pip install 'litestar-filestore[images]'") from error
    return imagesize
