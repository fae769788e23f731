"""What a sample is."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("Sample",)


class Sample(NamedTuple):
    """A file of a known type."""

    name: str
    """An honest name."""
    content: bytes
    type: str
    named: bool = False
    """Whether the content leaves open which one of several types it is, so that the name chooses."""
