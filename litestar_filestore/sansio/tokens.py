"""Signed tokens: the claims of a link or a reference, in a form that only this application can make.

::

    token   = key-id "." claims "." mac
    claims  = base64url(canonical JSON: sorted names, no spaces, UTF-8)
    mac     = base64url(HMAC-SHA-256(key of the purpose, key-id "." claims))

The MAC covers the *text* of the claims and is compared as text, so a token has only one spelling, and nothing is
decoded before the MAC is verified. The ring signs one document and never joined fields, whose bytes could be shifted
from one field to the next. Each purpose has its own key, derived from the secret, so a token for one purpose is never
valid for another.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from litestar_filestore.errors import ConfigurationError, InvalidArgumentError, InvalidTokenError

__all__ = ("MAX_TOKEN_CHARACTERS", "MIN_SECRET_BYTES", "KeyRing", "Purpose", "Secret", "hide_tokens")

MAX_TOKEN_CHARACTERS = 4096
"""Longest token in characters: tokens are part of URLs, which servers and proxies limit to about 8,000 characters."""
MIN_SECRET_BYTES = 32
"""Shortest secret in bytes: as long as the digest (RFC 2104 §3)."""

Purpose: TypeAlias = Literal["download", "upload", "reference", "ticket"]
"""The use of a token: to GET and HEAD an object, to PUT one, to name one in a request's body, to continue an upload."""
Secret: TypeAlias = str | bytes
"""At least 32 random bytes; text counts as its UTF-8."""

_VERSION = 1
_BLOCK_BYTES = 64
_LABEL = b"litestar-filestore/token/v1\0"
_MIN_DISTINCT = 8
_MIN_NEW_TRIPLES = 0.7
_MAX_STEPS = 0.6
# Hexadecimal or base64 text of random bytes contains one of these words about once in 300,000 secrets.
_PLACEHOLDERS = (
    "changeme",
    "default",
    "development",
    "example",
    "filestore",
    "insecure",
    "letmein",
    "litestar",
    "loremipsum",
    "password",
    "placeholder",
    "production",
    "qwerty",
    "replaceme",
    "secret",
    "testtest",
    "yourkey",
)
_KEYBOARDS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm")
_STEPS = frozenset(pair for row in _KEYBOARDS for row_or_back in (row, row[::-1]) for pair in pairwise(row_or_back))
# Secrets that people copy from documentation: RFC 7515 appendix A.1, and the tutorials of FastAPI and Flask.
_PUBLISHED = frozenset(
    {
        b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        b"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    }
)
_ANY_TOKEN = re.compile(r"[A-Za-z0-9_-]{8}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
_TOKEN = re.compile(r"([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = str.maketrans("-_", "+/")


class _Mac(NamedTuple):
    """HMAC-SHA-256 with one key (RFC 2104 §2), whose two blocks are hashed once.

    `hmac.digest` hashes them again for each token, and takes six times as long for one that is as short as a link.
    """

    inner: Any
    """A hash of the standard library, which has no public name for their type."""
    outer: Any

    @classmethod
    def of(cls, key: bytes) -> _Mac:
        """Return that of a key, which is no longer than a block of SHA-256."""
        block = key.ljust(_BLOCK_BYTES, b"\0")
        return cls(*(hashlib.sha256(bytes(each ^ pad for each in block)) for pad in (0x36, 0x5C)))

    def sign(self, signed: str) -> str:
        """Return the code of a text."""
        inner, outer = self.inner.copy(), self.outer.copy()
        inner.update(signed.encode())
        outer.update(inner.digest())
        return _encode(outer.digest())


class KeyRing:
    """The secrets of an application. The first one signs; tokens signed with any of them are accepted.

    To rotate, put a new secret first. To retire one, leave it out: its tokens are then refused.
    """

    __slots__ = ("_keys", "_signing")

    _keys: dict[tuple[str, Purpose], _Mac]
    """The derived keys by the id of their secret and their purpose."""

    def __init__(self, secrets: Secret | Sequence[Secret]) -> None:
        """Derive the keys.

        Args:
            secrets: One secret, or several with the newest first.

        Raises:
            ConfigurationError: If there is none, or if one is too short or can be guessed.
        """
        listed = [secrets] if isinstance(secrets, (str, bytes)) else list(secrets)
        if not listed:
            raise ConfigurationError(_explain("The list of secrets is empty"))
        checked = [check_secret(each) for each in listed]
        purposes: tuple[Purpose, ...] = get_args(Purpose)
        self._keys = {
            (_key_id(secret), each): _Mac.of(_derive(secret, f"purpose {each}"))
            for secret in checked
            for each in purposes
        }
        self._signing = _key_id(checked[0])

    def __repr__(self) -> str:
        """Return the number of secrets, but nothing of their content."""
        return f"KeyRing({len({key_id for key_id, _ in self._keys})} secrets)"

    def sign(self, purpose: Purpose, claims: Mapping[str, Any], *, expires_at: int) -> str:
        """Return a token.

        Args:
            purpose: The only purpose that it is valid for.
            claims: What it says, as JSON values. The names ``e``, ``p`` and ``v`` are reserved.
            expires_at: POSIX time in seconds (UTC) at which it expires.

        Raises:
            InvalidArgumentError: If the token would be longer than `MAX_TOKEN_CHARACTERS`.
        """
        document = {**claims, "e": expires_at, "p": purpose, "v": _VERSION}
        signed = f"{self._signing}.{_encode(msgspec.json.encode(document, order='sorted'))}"
        token = f"{signed}.{self._keys[self._signing, purpose].sign(signed)}"
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidArgumentError(
                f"A link for this file would be longer than {MAX_TOKEN_CHARACTERS} characters: shorten its key or "
                "filename"
            )
        return token

    def read(self, purpose: Purpose, token: str, *, now: float) -> tuple[dict[str, Any], int]:
        """Return the claims of a token and the time at which it expires.

        Args:
            purpose: The purpose that it must be valid for.
            token: A token from a client.
            now: POSIX time in seconds (UTC). A token that expires at `now` has expired.

        Raises:
            InvalidTokenError: For any token that was not made by `sign` for this purpose with a secret of the ring, or
                that has expired. The error does not say which.
        """
        claims = self._verify(purpose, token)
        expires_at = claims.pop("e", None)
        if claims.pop("v", None) != _VERSION or claims.pop("p", None) != purpose or type(expires_at) is not int:
            raise InvalidTokenError
        if now >= expires_at:
            raise InvalidTokenError
        return claims, expires_at

    def _verify(self, purpose: Purpose, token: str) -> dict[str, Any]:
        # Check the length first: everything else takes time in proportion to it.
        found = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARACTERS else None
        key = self._keys.get((found[1], purpose)) if found is not None else None
        if found is None or key is None:
            raise InvalidTokenError
        # The duration of a byte-by-byte comparison would reveal how many bytes are right.
        if not hmac.compare_digest(key.sign(f"{found[1]}.{found[2]}").encode(), found[3].encode()):
            raise InvalidTokenError
        claims = a2b_base64(found[2].translate(_FROM_URL) + "=" * (-len(found[2]) % 4))
        return msgspec.json.decode(claims, type=dict[str, Any])


def check_secret(secret: Secret) -> bytes:
    """Return the bytes of `secret` if they can be random.

    Raises:
        ConfigurationError: If they are too few, or look like a secret from an example.
    """
    value = secret.encode() if isinstance(secret, str) else bytes(secret)
    if len(value) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            _explain(f"A secret needs at least {MIN_SECRET_BYTES} bytes, this one has {len(value)}")
        )
    if _is_guessable(value):
        raise ConfigurationError(_explain("This secret was not made by a random generator"))
    return value


def _is_guessable(value: bytes) -> bool:
    """Return whether a secret repeats itself, counts up, follows a keyboard row, or consists of words.

    Random bytes, raw or as hexadecimal or base64 text, look like that about once in 300,000 secrets.
    """
    text = value.decode("latin-1").lower()
    letters = re.sub(r"[^a-z]", "", text)
    triples = [text[start : start + 3] for start in range(len(text) - 2)]
    steps = sum(abs(ord(one) - ord(next_)) <= 1 or (one, next_) in _STEPS for one, next_ in pairwise(text))
    return (
        len(set(value)) < _MIN_DISTINCT
        or len(set(triples)) < _MIN_NEW_TRIPLES * len(triples)
        or steps > _MAX_STEPS * (len(text) - 1)
        or any(word in letters for word in _PLACEHOLDERS)
        or value in _PUBLISHED
    )


def hide_tokens(text: str) -> str:
    """Return `text` with every token replaced, for logs."""
    return _ANY_TOKEN.sub("[token]", text)


def _explain(what: str) -> str:
    return f'{what}; make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def _derive(secret: bytes, label: str) -> bytes:
    return hmac.digest(secret, _LABEL + label.encode(), "sha256")


def _key_id(secret: bytes) -> str:
    return _encode(_derive(secret, "key id")[:6])


def _encode(value: bytes) -> str:
    return b2a_base64(value, newline=False).translate(_TO_URL, b"=").decode()
