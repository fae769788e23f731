"""A token says what it was made to say, for what it was made for, while it lasts. Everything else is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
import random
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from litestar_filestore.errors import ConfigurationError, InvalidArgumentError, InvalidTokenError
from litestar_filestore.sansio.tokens import MAX_TOKEN_CHARACTERS, KeyRing, Purpose, hide_tokens

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"  # as token_urlsafe makes them
OTHER = "9pZx2Wc4Rn7Kt0Vb3Qm6Yd8Js1Lf5Hg7"
CLAIMS = {"b": "documents", "k": "2026/11/0f3a.pdf", "n": "Rätsel ?.pdf"}
NOW = 1_800_000_000
END = NOW + 300
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

RING = KeyRing(SECRET)
TOKEN = RING.sign("download", CLAIMS, expires_at=END)
KEY_ID, PAYLOAD, MAC = TOKEN.split(".")


def refused(token: str, *, ring: KeyRing = RING, purpose: Purpose = "download", now: float = NOW) -> bool:
    """Return whether a token is refused."""
    try:
        ring.read(purpose, token, now=now)
    except InvalidTokenError:
        return True
    return False


def encode(value: bytes) -> str:
    """Return unpadded base64url."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read unpadded base64url."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_token_says_what_was_signed() -> None:
    """Claims and end come back as they went in."""
    assert RING.read("download", TOKEN, now=NOW) == (CLAIMS, END)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=2, max_size=8),
        st.text(st.characters(codec="utf-8"), max_size=40),
        max_size=4,
    )
)
def test_any_text_comes_back(claims: dict[str, str]) -> None:
    """No character that a key or a name can hold is lost."""
    token = RING.sign("reference", claims, expires_at=END)
    assert RING.read("reference", token, now=NOW)[0] == claims


def test_same_claims_in_any_order_make_the_same_token() -> None:
    """Caches see one URL for one thing."""
    assert RING.sign("download", dict(reversed(CLAIMS.items())), expires_at=END) == TOKEN


def test_token_is_safe_in_a_url() -> None:
    """Nothing of it needs escaping in a path."""
    assert set(TOKEN) <= set(string.ascii_letters + string.digits + "-_.")


def test_fields_cannot_be_shifted() -> None:
    """Two pairs of values that read the same when they are joined have different signatures."""
    tokens = [
        RING.sign("download", {"bb": left, "kk": right}, expires_at=END) for left, right in (("a", "bc"), ("ab", "c"))
    ]
    assert tokens[0].split(".")[2] != tokens[1].split(".")[2]


def test_one_changed_character_is_refused() -> None:
    """Every other character in every place, some 12,000 tokens: none is accepted, in the last place neither."""
    accepted = [
        changed
        for place, old in enumerate(TOKEN)
        for new in string.ascii_letters + string.digits + "-_.=+/% "
        if new != old and not refused(changed := TOKEN[:place] + new + TOKEN[place + 1 :])
    ]
    assert accepted == []


def test_random_damage_is_refused() -> None:
    """Characters cut out, put in, doubled and swapped, 3,000 times: nothing is accepted."""
    source = random.Random(5)
    accepted: list[str] = []
    for _ in range(3000):
        start, end = sorted(source.sample(range(len(TOKEN)), 2))
        piece = TOKEN[start:end]
        middle = source.choice(
            ["", piece + piece, piece[::-1], piece.swapcase(), "".join(source.sample(piece, len(piece)))]
        )
        changed = TOKEN[:start] + middle + TOKEN[end:]
        if changed != TOKEN and not refused(changed):
            accepted.append(changed)
    assert accepted == []


def forged(secret: bytes, **changes: Any) -> str:
    """Return the token with changed claims and a MAC made with a key that is not the ring's."""
    claims = {**json.loads(decode(PAYLOAD)), **changes}
    signed = f"{KEY_ID}.{encode(json.dumps(claims, sort_keys=True, separators=(',', ':')).encode())}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def test_mac_is_the_hmac_of_the_purpose_s_key() -> None:
    """Tokens outlive a release: the code is HMAC-SHA-256 with the key that HMAC-SHA-256 derives from the secret."""
    key = hmac.digest(SECRET.encode(), b"litestar-filestore/token/v1\0purpose download", "sha256")
    assert encode(hmac.digest(key, f"{KEY_ID}.{PAYLOAD}".encode(), "sha256")) == MAC


TRICKS = {
    "nothing": "",
    "no MAC": f"{KEY_ID}.{PAYLOAD}",
    "empty MAC": f"{KEY_ID}.{PAYLOAD}.",
    "empty claims": f"{KEY_ID}..{MAC}",
    "no key id": f".{PAYLOAD}.{MAC}",
    "one part more": f"{TOKEN}.{MAC}",
    "parts in another order": f"{KEY_ID}.{MAC}.{PAYLOAD}",
    "padding": f"{KEY_ID}.{PAYLOAD}{'=' * (-len(PAYLOAD) % 4) or '='}.{MAC}",
    "padded MAC": f"{TOKEN}=",
    "other spelling of the last bits": TOKEN[:-1] + chr(ord(TOKEN[-1]) ^ 1),
    "other alphabet": TOKEN.replace("-", "+").replace("_", "/") + ("" if {"-", "_"} & set(TOKEN) else "+"),
    "line break at the end": f"{TOKEN}\n",
    "white space around": f" {TOKEN} ",
    "NUL at the end": f"{TOKEN}\0",
    "digits of another script": TOKEN.replace(TOKEN[0], "\u0661", 1),
    "letters that look alike": TOKEN.replace(PAYLOAD[0], "\uff25", 1),
    "lone surrogate": f"{TOKEN[:-1]}\ud800",
    "percent-encoded": TOKEN.replace(".", "%2E"),
    "claims in JSON with spaces": f"{KEY_ID}.{encode(json.dumps(json.loads(decode(PAYLOAD))).encode())}.{MAC}",
    "claims twice": f"{KEY_ID}.{encode(decode(PAYLOAD) * 2)}.{MAC}",
    "MAC of an empty secret": forged(b""),
    "MAC of the key id": forged(KEY_ID.encode()),
    "MAC of the secret itself, without a purpose": forged(SECRET.encode()),
    "later end": forged(SECRET.encode(), e=END + 1000),
    "no algorithm": f"{KEY_ID}.{encode(json.dumps({**json.loads(decode(PAYLOAD)), 'alg': 'none'}).encode())}.{MAC}",
    "deeply nested": f"{KEY_ID}.{encode(b'[' * 2500)}.{MAC}",
    "too long": f"{KEY_ID}.{PAYLOAD * 40}.{MAC}",
    "megabytes": f"{KEY_ID}.{'A' * 5_000_000}.{MAC}",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_structural_trick_is_refused(trick: str) -> None:
    """Other spellings and shapes of a good token are no token."""
    assert TRICKS[trick] != TOKEN
    assert refused(TRICKS[trick])


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("other", PURPOSES)
def test_other_purpose_is_refused(purpose: Purpose, other: Purpose) -> None:
    """A token serves what it was made for and nothing else."""
    token = RING.sign(purpose, CLAIMS, expires_at=END)
    assert refused(token, purpose=other) is (purpose != other)


@pytest.mark.parametrize(("now", "is_over"), [(END - 1, False), (END - 0.001, False), (END, True), (END + 10**9, True)])
def test_token_ends(now: float, *, is_over: bool) -> None:
    """A token is good until its end, and not at it."""
    assert refused(TOKEN, now=now) is is_over


def test_secret_of_somebody_else_is_refused() -> None:
    """Another application's token is none."""
    assert refused(KeyRing(OTHER).sign("download", CLAIMS, expires_at=END))


def test_key_id_of_a_known_secret_does_not_help() -> None:
    """A foreign MAC under a known key id is refused as well."""
    _, payload, mac = KeyRing(OTHER).sign("download", CLAIMS, expires_at=END).split(".")
    assert refused(f"{KEY_ID}.{payload}.{mac}")


def test_rotated_secret_still_opens() -> None:
    """After a new secret was put in front, links that are out stay good."""
    assert not refused(TOKEN, ring=KeyRing([OTHER, SECRET]))


def test_first_secret_signs() -> None:
    """New links are made with the new secret alone."""
    token = KeyRing([OTHER, SECRET]).sign("download", CLAIMS, expires_at=END)
    assert (refused(token), refused(token, ring=KeyRing(OTHER))) == (True, False)


def test_retired_secret_opens_nothing() -> None:
    """When a secret is left out, its links are over."""
    assert refused(TOKEN, ring=KeyRing(OTHER))


def test_text_and_its_bytes_are_the_same_secret() -> None:
    """Environment variables are text, files are bytes."""
    assert KeyRing(SECRET.encode()).sign("download", CLAIMS, expires_at=END) == TOKEN


def test_mac_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a refusal takes tells nothing: the one comparison is that of the library, on bytes."""
    compared: list[tuple[object, object]] = []
    real = hmac.compare_digest

    def compare(left: Any, right: Any) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert refused(f"{KEY_ID}.{PAYLOAD}.{'A' * 43}")
    assert [(type(left), type(right)) for left, right in compared] == [(bytes, bytes)]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "short",
        SECRET[:31],
        b"\0" * 64,
        "a" * 64,
        "0123456789" * 5,
        "changeme" * 5,
        "CHANGE-ME-" + SECRET,
        "your-secret-goes-here-and-is-long-enough",
        "django-insecure-" + SECRET,
        "correct-password-of-the-production-site",
        "0123456789abcdef" * 2,
        "0123456789abcdef0123456789ABCDEF",
        "fedcba9876543210" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "qwertyuiopasdfghjklzxcvbnm1234567890",
        "QWERTZUIOPASDFGHJKLYXCVBNM1234567890",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9" * 2,
        "mylittlepony-" * 3,
        SECRET[:16] * 2,
        bytes(range(64)),
        "deadbeefcafebabe" * 4,
        "your_key_your_key_1Xb9zLq84jPd2vNt",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    ],
)
def test_weak_secret_is_refused(secret: str | bytes) -> None:
    """What is too short, or was not made by a generator, is an error when the application starts."""
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        KeyRing(secret)


def test_one_weak_secret_among_several_is_refused() -> None:
    """A retired secret that anybody can guess still opens everything."""
    with pytest.raises(ConfigurationError):
        KeyRing([SECRET, "changeme"])


def test_no_secret_is_refused() -> None:
    """An empty list is no secret."""
    with pytest.raises(ConfigurationError):
        KeyRing([])


@given(st.integers(0, 2**64), st.integers(32, 64))
def test_random_secret_is_accepted(seed: int, size: int) -> None:
    """Random bytes are good as they are, as hexadecimal text and as base64."""
    secret = random.Random(seed).randbytes(size)
    written: list[str | bytes] = [secret, secret.hex(), urlsafe_b64encode(secret), secret[:16].hex(), secret[:24].hex()]
    assert repr(KeyRing(written)) == "KeyRing(5 secrets)"


def test_tokens_are_hidden_in_text() -> None:
    """Each token of a text is replaced, and what only has dots stays."""
    ring = KeyRing(SECRET)
    tokens = [ring.sign("download", {"k": number}, expires_at=NOW + 60) for number in range(2)]
    text = f"GET /filestore/{tokens[0]}?x=1 and {tokens[1]}. example.com/a.b.c"
    assert hide_tokens(text) == "GET /filestore/[token]?x=1 and [token]. example.com/a.b.c"


def test_secret_does_not_show() -> None:
    """Neither the ring's text nor an error's holds it."""
    weak = "changeme-" + SECRET
    with pytest.raises(ConfigurationError) as caught:
        KeyRing(weak)
    assert SECRET not in f"{RING!r} {caught.value}"


def test_refusals_look_the_same() -> None:
    """Damage, another purpose and the end of a token give one and the same error."""
    texts: set[str] = set()
    tries: list[tuple[str, Purpose, int]] = [
        (TOKEN[:-2], "download", NOW),
        (TOKEN, "upload", NOW),
        (TOKEN, "download", END),
    ]
    for token, purpose, now in tries:
        with pytest.raises(InvalidTokenError) as caught:
            RING.read(purpose, token, now=now)
        texts.add(str(pickle.loads(pickle.dumps(caught.value))))  # noqa: S301 - our own
    assert len(texts) == 1


def test_claims_that_are_too_long_are_refused() -> None:
    """A token that could not be read is not made."""
    with pytest.raises(InvalidArgumentError):
        RING.sign("download", {"k": "x" * MAX_TOKEN_CHARACTERS}, expires_at=END)
