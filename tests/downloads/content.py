"""The objects that the download tests read."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ("BIG_BYTES", "CONTENT", "OBJECTS", "SIZE", "big")

SIZE: Final = 1000
BIG_BYTES: Final = 8 * 1024 * 1024 + 11
CONTENT: Final = b"".join(b"%07d\n" % number for number in range(SIZE // 8))


def big() -> bytes:
    """Return content of which no two blocks are alike, and which does not compress."""
    blocks = (hashlib.sha256(b"%d" % number).digest() for number in range(BIG_BYTES // 32 + 1))
    return b"".join(blocks)[:BIG_BYTES]


OBJECTS: Final = {
    "small": (CONTENT, "text/plain"),
    "empty": (b"", "application/pdf"),
    "big": (big(), "application/zip"),
}
"""Content and type by name."""
