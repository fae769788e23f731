"""Small files of every type that is told, made here byte by byte: one entry each."""

from __future__ import annotations

from tests.validation.samples.archives import ARCHIVES
from tests.validation.samples.documents import DOCUMENTS
from tests.validation.samples.images import IMAGES
from tests.validation.samples.media import MEDIA
from tests.validation.samples.sample import Sample
from tests.validation.samples.texts import TEXTS

__all__ = ("SAMPLES", "Sample")

SAMPLES: tuple[Sample, ...] = (*IMAGES, *MEDIA, *DOCUMENTS, *ARCHIVES, *TEXTS)
