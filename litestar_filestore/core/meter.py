"""Counts and hashes content on its way, and stops it at a limit."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from litestar_filestore.errors import ConfigurationError, FileTooLargeError

if TYPE_CHECKING:
    from litestar_filestore.core.types import Block

__all__ = ("Meter", "check_digest")

_ALGORITHMS = ("sha256", "sha512", "sha1", "md5", "blake2b")


def check_digest(algorithm: str | None) -> str | None:
    """Return `algorithm` if `Meter` can compute it.

    Raises:
        ConfigurationError: If it is none of ``sha256, sha512, sha1, md5, blake2b`` or ``None``.
    """
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise ConfigurationError(f"The digest {algorithm!r} is not one of {', '.join(_ALGORITHMS)} or None")
    return algorithm


class Meter:
    """Counts bytes, computes a digest of them and enforces a limit. Pure: feed it blocks in their order."""

    __slots__ = ("_algorithm", "_hash", "max_bytes", "size")

    def __init__(self, *, digest: str | None = "sha256", max_bytes: int | None = None) -> None:
        """Start at zero.

        Args:
            digest: Algorithm as `check_digest` accepts it; ``None`` computes none.
            max_bytes: Largest size in bytes that is still allowed (inclusive); ``None`` for no limit.
        """
        self._algorithm = digest
        # The digest tells contents apart, it keeps no secret: md5 and sha1 stay usable on FIPS builds.
        self._hash = None if digest is None else hashlib.new(digest, usedforsecurity=False)
        self.max_bytes = max_bytes
        self.size = 0
        """Bytes seen so far."""

    def update(self, block: Block) -> None:
        """Take one block.

        Raises:
            FileTooLargeError: If the content is now longer than `max_bytes`; the block is not hashed.
        """
        self.size += len(block)
        if self.max_bytes is not None and self.size > self.max_bytes:
            raise FileTooLargeError(f"The file is larger than {self.max_bytes} bytes", max_bytes=self.max_bytes)
        if self._hash is not None:
            self._hash.update(block)

    @property
    def checksum(self) -> str | None:
        """Digest of what was seen, as ``algorithm:hex``; ``None`` without a digest."""
        return None if self._hash is None else f"{self._algorithm}:{self._hash.hexdigest()}"

    @property
    def etag(self) -> str | None:
        """Strong entity tag made from the digest (RFC 9110 §8.8.3), with its quotes; ``None`` without a digest."""
        return None if self._hash is None else f'"{self._hash.hexdigest()[:32]}"'
