"""The grammar of keys, and the functions that make new ones.

A key is a ``/``-separated path inside a backend, for example ``7e/202611/6925…``. One function checks the keys of every
backend before a driver sees them, because stores disagree about odd keys: some normalise them, some hide or refuse
them, and some follow them out of their root.
"""

from __future__ import annotations

import re
import secrets
import string
import time
import unicodedata

from litestar_filestore.errors import ConfigurationError, InvalidKeyError

__all__ = (
    "DEFAULT_KEY_TEMPLATE",
    "MAX_KEY_BYTES",
    "MAX_SEGMENT_BYTES",
    "RESERVED_SEGMENT",
    "check_key",
    "check_key_template",
    "check_prefix",
    "is_unfinished",
    "join_prefix",
    "make_key",
)

DEFAULT_KEY_TEMPLATE = "{shard}/{yyyymm}/{random}{ext}"
"""Default template for new keys: one of 256 prefixes by chance, a folder per month, time and 128 random bits, the
extension of the verified type.

S3 limits requests by prefix, so a date first would send all uploads of a month to one of them. The ledger's primary key
grows at 256 places instead of everywhere: new entries share pages, and uploads write a third of the log of random keys.
"""
MAX_KEY_BYTES = 1024
"""Longest key in UTF-8 bytes, prefix included: the limit of S3, GCS and Azure."""
MAX_SEGMENT_BYTES = 255
"""Longest part between two slashes in UTF-8 bytes: the limit of most file systems."""
RESERVED_SEGMENT = ".filestore"
"""A first segment that no key may use: local drivers keep unfinished writes there."""

_TEMPLATE_FIELDS = frozenset({"shard", "yyyymm", "yyyy", "mm", "dd", "random", "ext"})
_TEMPLATE_TEXT = re.compile(r"[A-Za-z0-9/._-]*")
_UNFINISHED = re.compile(r"[0-9a-f]{32}")
# Plain keys, such as those made here: nothing in them has to be looked at more closely.
_PLAIN_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]{1,255}"
_PLAIN = re.compile(rf"{_PLAIN_SEGMENT}(?:/{_PLAIN_SEGMENT})*")
_EXTENSION = re.compile(r"(\.[a-z0-9]{1,10}){0,2}")


def check_key(key: str) -> str:
    """Return `key` unchanged if every backend can hold it.

    Args:
        key: 1 to 1,024 UTF-8 bytes in segments of 1 to 255; no leading or trailing slash, no ``.`` or ``..`` segment,
            no backslash, no control, format or surrogate character.

    Raises:
        InvalidKeyError: For any other value.
    """
    # Keys arrive from untyped callers.
    if type(key) is not str or len(key) > MAX_KEY_BYTES or _PLAIN.fullmatch(key) is None:
        _check(key, "key")
    if key.split("/", 1)[0] == RESERVED_SEGMENT:
        raise InvalidKeyError(
            f"The segment {RESERVED_SEGMENT!r} is reserved for unfinished writes; begin the key with another one",
            key=key,
        )
    return key


def is_unfinished(name: str) -> bool:
    """Return whether a file in the reserved folder is an unfinished write: its name is 128 random bits in hexadecimal.

    Other files there must stay, such as the mark of the database that looks after the backend.
    """
    return _UNFINISHED.fullmatch(name) is not None


def check_prefix(prefix: str) -> str:
    """Return `prefix` without leading and trailing slashes; it must be empty or follow the grammar of keys.

    Raises:
        InvalidKeyError: For any other value.
    """
    stripped = prefix.strip("/")
    return _check(stripped, "prefix") if stripped else ""


def join_prefix(prefix: str, key: str) -> str:
    """Put a checked prefix in front of a checked key.

    Raises:
        InvalidKeyError: If the result is longer than 1,024 bytes.
    """
    if not prefix:
        return key
    path = f"{prefix}/{key}" if key else prefix
    if len(path.encode()) > MAX_KEY_BYTES:
        raise InvalidKeyError(
            f"Prefix and key together are longer than {MAX_KEY_BYTES} bytes: shorten one of them", key=key
        )
    return path


def _check(key: str, what: str) -> str:
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # keys arrive from untyped callers
        raise InvalidKeyError(f"A {what} must be a str, not {type(key).__name__}")
    if not key:
        # Object stores read an empty key as the bucket itself: a delete would go to the bucket's own URL.
        raise InvalidKeyError(f"A {what} must not be empty: write one such as 'reports/2024'")
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise InvalidKeyError(
            f"A {what} must be valid Unicode, without lone surrogates: decode it with errors='replace'", key=ascii(key)
        ) from error
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidKeyError(
            f"A {what} must not be longer than {MAX_KEY_BYTES} bytes: shorten it by {len(encoded) - MAX_KEY_BYTES} "
            "bytes",
            key=key[:80],
        )
    # A backslash is a folder separator on Windows and in many tools that unpack or sync a bucket.
    bad = next((char for char in key if char == "\\" or unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}), None)
    if bad is not None:
        raise InvalidKeyError(f"A {what} must not hold the character U+{ord(bad):04X}: remove or replace it", key=key)
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            # "../x" escapes the root on file systems; "a//b" and "/a" name different objects on different stores.
            raise InvalidKeyError(
                f"A {what} must not hold an empty or dot segment, or start or end with '/': write it like 'a/b'",
                key=key,
            )
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidKeyError(
                f"A segment of a {what} must not be longer than {MAX_SEGMENT_BYTES} bytes: shorten it, or divide it "
                "with '/'",
                key=key,
            )
    return key


def check_key_template(template: str) -> str:
    """Return `template` unchanged if `make_key` can use it.

    Args:
        template: ``str.format`` fields ``shard``, ``yyyymm``, ``yyyy``, ``mm``, ``dd`` (UTC date), ``random`` and
            ``ext``, without conversions or format specifications; any other text must match ``[A-Za-z0-9/._-]``.
            ``{random}`` is required: without it two files could get the same key, and the second would replace the
            first.

    Raises:
        ConfigurationError: For any other template; the message says why.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(
            f"The key template {template!r} is malformed: {error}. Write it like {DEFAULT_KEY_TEMPLATE!r}"
        ) from error
    for text, name, spec, conversion in parts:
        if _TEMPLATE_TEXT.fullmatch(text) is None:
            raise ConfigurationError(
                f"The key template {template!r} may only hold [A-Za-z0-9/._-] beside its fields: remove other "
                "characters"
            )
        if name is not None and (name not in _TEMPLATE_FIELDS or spec or conversion):
            known = ", ".join(sorted(_TEMPLATE_FIELDS))
            raise ConfigurationError(
                f"The key template {template!r} may only use the plain fields {known}, without format or conversion"
            )
    if "random" not in {name for _, name, _, _ in parts}:
        raise ConfigurationError(
            f"The key template {template!r} needs {{random}}, or two files would share a key: write it like "
            f"{DEFAULT_KEY_TEMPLATE!r}"
        )
    try:
        check_key(_render(template, ext="", secret="0" * 34, seconds=0))
    except InvalidKeyError as error:
        raise ConfigurationError(f"The key template {template!r} makes invalid keys: {error.detail}") from error
    return template


def make_key(template: str = DEFAULT_KEY_TEMPLATE, *, ext: str = "") -> str:
    """Make a new key that cannot be guessed: 128 of its bits come from `secrets`.

    Args:
        template: A template that `check_key_template` accepts.
        ext: ``""`` or the extension of the *verified* type, with its dot, in lower case. Never use the client's
            extension: a web server or sync tool may decide by it what to execute.

    Raises:
        InvalidKeyError: If `ext` is not an extension.
    """
    if _EXTENSION.fullmatch(ext) is None:
        raise InvalidKeyError(f"{ext!r} is not an extension such as '.pdf' or '.tar.gz'")
    return _render(template, ext=ext, secret=secrets.token_hex(17), seconds=int(time.time()))


def _render(template: str, *, ext: str, secret: str, seconds: int) -> str:
    date = time.gmtime(seconds)
    year, month, day = f"{date.tm_year:04}", f"{date.tm_mon:02}", f"{date.tm_mday:02}"
    # The shard is not a part of the 128 bits. The time comes first, so that keys of one shard are in order.
    random = f"{seconds:08x}{secret[2:]}"
    return template.format(shard=secret[:2], yyyymm=year + month, yyyy=year, mm=month, dd=day, random=random, ext=ext)
