"""Digests that clients announce."""

from __future__ import annotations

import base64
import hashlib

import pytest

from litestar_filestore.errors import InvalidArgumentError
from litestar_filestore.sansio.digests import AnnouncedDigests

CONTENT = b"what was sent"
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
SHA512 = base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()
MD5 = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()


def is_as_announced(*headers: tuple[str, str], content: bytes = CONTENT) -> bool:
    """Return whether the content is what the headers announce."""
    digests = AnnouncedDigests(headers)
    for start in range(0, len(content), 5):
        digests.update(content[start : start + 5])
    return digests.verify()


@pytest.mark.parametrize(
    "header",
    [
        ("Content-MD5", MD5),
        ("repr-digest", f"sha-256=:{SHA256}:"),
        ("Content-Digest", f"sha-512=:{SHA512}:, sha-256=:{SHA256}:"),
        ("Repr-Digest", f"unixsum=:AAAA:, md5=:{MD5}:"),
        ("Repr-Digest", "crc32c=:AAAAAA==:"),
        ("X-Other", "anything"),
    ],
)
def test_content_that_is_as_announced_is_told_from_other_content(header: tuple[str, str]) -> None:
    """Every algorithm that is known is compared; others are left alone."""
    known = header[0] != "X-Other" and "crc32c" not in header[1]
    assert is_as_announced(header)
    assert is_as_announced(header, content=CONTENT + b".") is not known


def test_all_digests_have_to_be_right() -> None:
    """One right digest does not make up for a wrong one."""
    wrong = base64.b64encode(hashlib.sha512(b"other").digest()).decode()
    assert not is_as_announced(("Repr-Digest", f"sha-256=:{SHA256}:, sha-512=:{wrong}:"))
    assert not is_as_announced(("Content-MD5", MD5), ("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="))


@pytest.mark.parametrize(
    "header",
    [
        ("Content-MD5", "not base64!"),
        ("Content-MD5", SHA256),
        ("Content-MD5", MD5.rstrip("=")),
        ("Repr-Digest", SHA256),
        ("Repr-Digest", f"sha-256={SHA256}"),
        ("Repr-Digest", f"sha-256=:{MD5}:"),
        ("Repr-Digest", f"SHA-256=:{SHA256}:"),
        ("Repr-Digest", ""),
        ("Repr-Digest", "sha-256=:" + "A" * 5000 + ":"),
    ],
)
def test_digest_that_cannot_be_read_is_refused(header: tuple[str, str]) -> None:
    """A client that asks for a check gets one, or is told that it asked wrongly."""
    with pytest.raises(InvalidArgumentError):
        AnnouncedDigests([header])
