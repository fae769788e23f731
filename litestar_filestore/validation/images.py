"""Limits on the dimensions of images, read from their headers. Nothing is decoded."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from litestar_filestore.core.rules import Candidate, FileRule
from litestar_filestore.errors import ConfigurationError, FileTypeNotAllowedError
from litestar_filestore.validation.image_headers import MEASURED, read_dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar_filestore.core.rules import Answer, Reading

__all__ = ("ImageSize",)


@dataclass(frozen=True)
class ImageSize(FileRule):
    """Refuses images beyond these dimensions, and everything that is not measured in pixels.

    A few kilobytes can claim billions of pixels, and take that much memory in whatever decodes them later. Dimensions
    are those of the stored raster, before a rotation that metadata may ask for. They may stand anywhere in the file: a
    JPEG has its metadata before them, and a TIFF may have them at its end.
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
            raise ConfigurationError("ImageSize takes limits in pixels, from 1 on")

    def at_head(self, file: Candidate) -> str | None:
        """Refuse what is no image."""
        if file.content_type not in MEASURED:
            raise FileTypeNotAllowedError(f"Only images are allowed here, not files of type {file.content_type}")
        return None

    def read(self, file: Candidate) -> Reading[Answer] | None:
        """Refuse by the dimensions in the header."""
        return self._judge(file.content_type) if file.content_type in MEASURED else None

    def _judge(self, content_type: str) -> Reading[Answer]:
        size = yield from read_dimensions(content_type)
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
