"""The grammar of keys, and how new ones are made."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies

from litestar_filestore.core.keys import (
    DEFAULT_KEY_TEMPLATE,
    MAX_KEY_BYTES,
    check_key,
    check_key_template,
    check_prefix,
    join_prefix,
    make_key,
)
from litestar_filestore.errors import ConfigurationError, InvalidKeyError
from litestar_filestore.testing.hostile import HOSTILE_KEYS, ODD_KEYS, shown


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=shown)
def test_hostile_key_is_refused(key: str) -> None:
    """Every key of the table of attacks is refused."""
    with pytest.raises(InvalidKeyError):
        check_key(key)


@pytest.mark.parametrize("key", ODD_KEYS, ids=shown)
def test_odd_key_is_allowed_unchanged(key: str) -> None:
    """Odd keys are allowed, and not normalised in any way."""
    assert check_key(key) is key


@pytest.mark.parametrize("key", [b"a", 1, None, ["a"]])
def test_key_must_be_text(key: Any) -> None:
    """What is no text is an invalid key, not a failure deep inside."""
    with pytest.raises(InvalidKeyError, match="must be a str"):
        check_key(key)


def test_longest_key() -> None:
    """1,024 bytes are allowed, one more is not."""
    longest = "/".join(["x" * 204] * 5)
    assert len(longest) == MAX_KEY_BYTES
    assert check_key(longest) == longest
    with pytest.raises(InvalidKeyError, match="1024"):
        check_key(longest + "x")


def test_reserved_segment_is_reserved_in_front_only() -> None:
    """Deeper down the name of the folder for unfinished writes is a name like any other."""
    assert check_key("a/.filestore/b") == "a/.filestore/b"


def test_message_shows_the_character_by_its_number() -> None:
    """A message about an invisible character does not repeat it, as it would be written to logs."""
    with pytest.raises(InvalidKeyError) as caught:
        check_key("a\u202eb")
    assert "U+202E" in caught.value.detail
    assert "\u202e" not in str(caught.value)


def test_message_about_a_surrogate_can_be_written() -> None:
    """A message about a key that cannot be encoded can be encoded itself."""
    with pytest.raises(InvalidKeyError) as caught:
        check_key("a\ud800b")
    assert str(caught.value).encode()


@pytest.mark.parametrize(("prefix", "expected"), [("", ""), ("/", ""), ("a", "a"), ("/a/", "a"), ("a/b/", "a/b")])
def test_prefix_is_stripped(prefix: str, expected: str) -> None:
    """Slashes at the ends of a prefix mean nothing."""
    assert check_prefix(prefix) == expected


@pytest.mark.parametrize("prefix", ["..", "a/../b", "a//b", "a\\b", "a\x00"])
def test_hostile_prefix_is_refused(prefix: str) -> None:
    """A prefix follows the grammar of keys."""
    with pytest.raises(InvalidKeyError):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("prefix", "key", "expected"), [("", "a", "a"), ("p", "a", "p/a"), ("p/q", "a/b", "p/q/a/b"), ("p", "", "p")]
)
def test_prefix_is_joined(prefix: str, key: str, expected: str) -> None:
    """A prefix becomes the folder of a key; either may be empty."""
    assert join_prefix(prefix, key) == expected


def test_joined_key_is_limited_as_a_whole() -> None:
    """Prefix and key together must not be longer than a key."""
    key = "/".join(["x" * 204] * 5)
    with pytest.raises(InvalidKeyError, match="together"):
        join_prefix("p", key)


def test_made_key_has_the_default_form() -> None:
    """A new key is one of 256 folders, a folder a month, the time, 128 random bits and the extension."""
    before = datetime.now(UTC)
    made = re.fullmatch(r"[0-9a-f]{2}/(\d{6})/([0-9a-f]{8})[0-9a-f]{32}\.pdf", make_key(ext=".pdf"))
    assert made is not None
    assert made[1] in {f"{moment:%Y%m}" for moment in (before, datetime.now(UTC))}
    assert int(before.timestamp()) <= int(made[2], 16) <= time.time()


def test_made_keys_spread_over_shards() -> None:
    """Every shard gets its part, and in each of them keys are in the order of their time."""
    keys = [make_key("{shard}/{random}").split("/") for _ in range(5_000)]
    assert len({shard for shard, _ in keys}) == 256
    times = [random[:8] for _, random in keys]
    assert times == sorted(times)


def test_made_keys_differ() -> None:
    """No two new keys are the same."""
    assert len({make_key() for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "template", ["{random}", "a/{dd}-{random}{ext}", "{random}/x", "{yyyy}{mm}{dd}/{random}", "{shard}/{random}"]
)
def test_made_key_is_valid(template: str) -> None:
    """What a template makes is a key."""
    assert check_key(make_key(check_key_template(template), ext=".tar.gz"))


@pytest.mark.parametrize("ext", ["pdf", ".PDF", ".a/b", "..", ".p df", ".x" * 3, "." + "a" * 11, ".é", ".\n"])
def test_extension_that_is_none_is_refused(ext: str) -> None:
    """Only plain lower-case extensions get into a key: a web server may decide by them what to execute."""
    with pytest.raises(InvalidKeyError):
        make_key(ext=ext)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "fixed",
        "{yyyy}/{mm}{ext}",
        "{filename}{random}",
        "{random!r}",
        "{random:>40}",
        "{random",
        "{}{random}",
        "{0}{random}",
        "{random.__class__}",
        "{random[0]}",
        "../{random}",
        "/{random}",
        "{random}/",
        "a//{random}",
        ".filestore/{random}",
        "a b/{random}",
        "ü/{random}",
        "x" * 250 + "{random}",
    ],
)
def test_template_that_cannot_work_is_refused(template: str) -> None:
    """A template that would repeat keys, reach into objects or make invalid keys is a wrong set-up."""
    with pytest.raises(ConfigurationError):
        check_key_template(template)


def test_default_template_is_one() -> None:
    """The default passes its own check."""
    assert check_key_template(DEFAULT_KEY_TEMPLATE) == DEFAULT_KEY_TEMPLATE


@given(strategies.text(max_size=40))
def test_accepted_keys_are_harmless(key: str) -> None:
    """Whatever is accepted stays inside its folder on any system and can be encoded; everything else is refused."""
    try:
        check_key(key)
    except InvalidKeyError:
        return
    segments = key.split("/")
    assert not {"", ".", ".."} & set(segments)
    assert "\\" not in key
    assert all(0 < len(segment.encode()) <= 255 for segment in segments)
    assert key.isprintable() or " " in key or not key.isascii()
