"""Content types and metadata in the form that stores can keep."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given, strategies

from litestar_filestore.core.backend import check_content_type, portable_metadata
from litestar_filestore.errors import InvalidArgumentError


@pytest.mark.parametrize(
    "content_type",
    [None, "image/png", "text/plain; charset=utf-8", 'multipart/mixed; boundary="a b"', "application/vnd.api+json"],
)
def test_media_type_is_kept(content_type: str | None) -> None:
    """Media types, with or without parameters, are returned as they are."""
    assert check_content_type(content_type) == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "png",
        "image/",
        "/png",
        "image /png",
        "image/png\r\nX-Evil: 1",
        "image/png\n",
        "image/p\u00f1g",
        "a/" + "b" * 300,
    ],
)
def test_what_is_no_media_type_is_refused(content_type: str) -> None:
    """Anything else is refused: line ends would start a header of their own."""
    with pytest.raises(InvalidArgumentError):
        check_content_type(content_type)


def test_names_become_lower_case() -> None:
    """Stores fold the case of names, so it is folded before."""
    assert portable_metadata({"Author": "x"}) == {"author": "x"}


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a:b", "größe", "a\nb", "x" * 200, "content-type", "Content-Disposition", "cache-control", "x-acl"],
)
def test_name_that_no_store_keeps_is_left_out(name: str) -> None:
    """Names that are no header names, and names of real headers, stay in the database."""
    assert portable_metadata({name: "x", "author": "y"}) == {"author": "y"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain text, with (all) of it!", "plain text, with (all) of it!"),
        ("Zoë", "Zo%C3%AB"),
        ("100%", "100%25"),
        ("a\r\nb", "a%0D%0Ab"),
        (" a ", "%20a%20"),
        ("", ""),
        (7, "7"),
        (None, "null"),
        ([1, "a"], '[1,"a"]'),
        ({"a": True}, '{"a":true}'),
    ],
)
def test_value_becomes_printable_ascii(value: object, expected: str) -> None:
    """What is not text becomes JSON, what is not printable ASCII is percent-encoded."""
    assert portable_metadata({"a": value}) == {"a": expected}


@given(strategies.text(strategies.characters(exclude_categories=["Cs"])))
def test_text_can_be_decoded_again(value: str) -> None:
    """Every text survives as a header value, and `unquote` gives it back."""
    encoded = portable_metadata({"a": value})["a"]
    assert encoded.isascii()
    assert encoded.isprintable()
    assert encoded.strip() == encoded
    assert unquote(encoded) == value
