"""Media types as clients declare them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from litestar_filestore.sansio.declared import declared_charset, declared_type


@given(st.text())
def test_any_text_becomes_a_short_type_or_none(text: str) -> None:
    """Whatever comes out is what every database takes: short, ASCII, lower case, without blanks."""
    for header in (text, f"text/{text}", f"{text}; charset={text}"):
        found = declared_type(header)
        assert found is None or (found.isascii() and found.isprintable() and " " not in found and len(found) <= 255)
        assert found is None or found == found.lower()


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        (None, None),
        ("text/plain", None),
        ("text/plain; charset=UTF-8", "UTF-8"),
        ('text/plain;format=flowed; Charset = "utf-7"', "utf-7"),
        ("text/plain; charset=" + "x" * 41, "x" * 40),
        ("text/plain; charset=\x00", None),
    ],
)
def test_charset_is_read(header: str | None, charset: str | None) -> None:
    """The encoding is found, quoted or not, and is never long."""
    assert declared_charset(header) == charset
