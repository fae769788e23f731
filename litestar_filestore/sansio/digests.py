"""Digests that clients send: ``Content-MD5`` (RFC 1864), ``Repr-Digest`` and ``Content-Digest`` (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final

from litestar_filestore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("DIGEST_HEADERS", "AnnouncedDigests")

# Those of RFC 9530 section 5 that hashlib has; checksums of other algorithms are ignored.
_ALGORITHMS: Final = {"sha-512": "sha512", "sha-256": "sha256", "md5": "md5", "sha": "sha1"}
DIGEST_HEADERS: Final = frozenset({"content-md5", "content-digest", "repr-digest"})
"""The headers, in lower case."""
_MAX_HEADER_CHARS: Final = 1024
# One member of a dictionary of byte sequences (RFC 9651 section 3.2).
_MEMBER: Final = re.compile(r"[ \t]*([a-z*][a-z0-9_\-.*]{0,31})=:([A-Za-z0-9+/]*={0,2}):[ \t]*")


class AnnouncedDigests:
    """Compares the digests that a sender announced with those of the bytes that arrive."""

    __slots__ = ("_computed", "_expected")

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        """Read the headers.

        Args:
            headers: Names in any case, and values; other headers are skipped.

        Raises:
            InvalidArgumentError: If a digest is malformed. It was sent to be checked, so it is not ignored.
        """
        self._expected: dict[str, set[bytes]] = {}
        for name, value in headers:
            lower = name.lower()
            if lower in DIGEST_HEADERS:
                self._expect(lower, value)
        # This only detects damaged bytes; no secret depends on the weak algorithms.
        self._computed = {each: hashlib.new(each, usedforsecurity=False) for each in self._expected}

    def _expect(self, header: str, value: str) -> None:
        if len(value) > _MAX_HEADER_CHARS:
            raise InvalidArgumentError(
                f"A header with digests is longer than {_MAX_HEADER_CHARS} characters: send fewer digests"
            )
        if header == "content-md5":
            self._add("md5", value.strip())
            return
        for member in value.split(","):
            found = _MEMBER.fullmatch(member)
            if found is None:
                raise InvalidArgumentError(
                    "A header with digests does not follow RFC 9530: write it like sha-256=:<base64>:"
                )
            if found.group(1) in _ALGORITHMS:
                self._add(found.group(1), found.group(2))

    def _add(self, algorithm: str, encoded: str) -> None:
        name = _ALGORITHMS[algorithm]
        try:
            digest = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidArgumentError(
                "A digest is not valid base64: encode the bytes of the digest, not its hexadecimal form"
            ) from error
        if len(digest) != hashlib.new(name, usedforsecurity=False).digest_size:
            raise InvalidArgumentError(
                f"A digest is too short or too long for {algorithm}: send all its bytes in base64"
            )
        self._expected.setdefault(name, set()).add(digest)

    @property
    def strongest(self) -> tuple[str, bytes] | None:
        """The announced digest that is hardest to forge, with hashlib's name; ``None`` if none is known.

        Raises:
            InvalidArgumentError: If there are several of that name: content has only one.
        """
        name = next((each for each in _ALGORITHMS.values() if each in self._expected), None)
        if name is None:
            return None
        if len(digests := self._expected[name]) > 1:
            raise InvalidArgumentError("Several digests of one algorithm are announced: send the right one")
        return name, next(iter(digests))

    def update(self, block: bytes) -> None:
        """Take the next block of the content."""
        for each in self._computed.values():
            each.update(block)

    def verify(self) -> bool:
        """Return whether the content matches all announced digests; ``True`` if there were none."""
        return all(expected == {self._computed[name].digest()} for name, expected in self._expected.items())
