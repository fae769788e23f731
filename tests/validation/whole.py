"""Readings of content that is here as a whole."""

from typing import TypeVar

from litestar_filestore.core.rule import Reading
from litestar_filestore.validation.reading import Passage

ResultT = TypeVar("ResultT")


def read_whole(reading: Reading[ResultT], content: bytes) -> ResultT | None:
    """Return what a reading comes to for `content`."""
    passage = Passage(reading, content)
    passage.end()
    return passage.result
