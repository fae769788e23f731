"""Counting, hashing and limiting."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, strategies

from litestar_filestore.core.sources import Meter, check_digest
from litestar_filestore.errors import ConfigurationError, FileTooLargeError


@given(strategies.lists(strategies.binary(max_size=50)))
def test_digest_does_not_depend_on_the_blocks(blocks: list[bytes]) -> None:
    """However content is cut, size and digest are those of the whole."""
    meter = Meter()
    for block in blocks:
        meter.update(block)
    whole = b"".join(blocks)
    assert meter.size == len(whole)
    assert meter.checksum == f"sha256:{hashlib.sha256(whole).hexdigest()}"


@pytest.mark.parametrize("digest", ["sha256", "sha512", "sha1", "md5", "blake2b"])
def test_algorithms(digest: str) -> None:
    """Each algorithm computes what hashlib computes, and names itself."""
    meter = Meter(digest=check_digest(digest))
    meter.update(memoryview(b"abc"))
    assert meter.checksum == f"{digest}:{hashlib.new(digest, b'abc').hexdigest()}"


def test_etag_is_quoted_and_differs() -> None:
    """The entity tag is made from the digest, with quotes."""
    first, second = Meter(), Meter()
    first.update(b"a")
    second.update(b"b")
    assert first.etag != second.etag
    assert first.etag == f'"{hashlib.sha256(b"a").hexdigest()[:32]}"'


def test_without_a_digest() -> None:
    """Without a digest only bytes are counted."""
    meter = Meter(digest=check_digest(None))
    meter.update(b"abc")
    assert (meter.size, meter.checksum, meter.etag) == (3, None, None)


def test_nothing_is_content_too() -> None:
    """No content has a size and a digest."""
    assert Meter().size == 0
    assert Meter().checksum == f"sha256:{hashlib.sha256().hexdigest()}"


@pytest.mark.parametrize("digest", ["", "sha3", "SHA256", "crc32"])
def test_unknown_algorithm_is_refused(digest: str) -> None:
    """An algorithm that is not offered is a wrong set-up, and the message lists what there is."""
    with pytest.raises(ConfigurationError, match="sha512"):
        check_digest(digest)


def test_limit_is_inclusive() -> None:
    """Exactly the limit is allowed, one byte more is not."""
    meter = Meter(max_bytes=4)
    meter.update(b"abcd")
    with pytest.raises(FileTooLargeError) as caught:
        meter.update(b"e")
    assert caught.value.max_bytes == 4


def test_limit_counts_all_blocks() -> None:
    """The limit holds for the sum, not for each block."""
    meter = Meter(max_bytes=5)
    meter.update(b"abc")
    with pytest.raises(FileTooLargeError):
        meter.update(b"def")


def test_limit_of_nothing() -> None:
    """A limit of zero allows the empty file."""
    meter = Meter(max_bytes=0)
    meter.update(b"")
    with pytest.raises(FileTooLargeError):
        meter.update(b"a")
