"""What files are, told from their content."""

from __future__ import annotations

import time

import pytest

from litestar_filestore.validation.detect import SignatureDetector, default_detector
from litestar_filestore.validation.media_types import UNKNOWN
from tests.validation.samples import SAMPLES, png, zipped

detect = SignatureDetector().detect

# Types whose content leaves open which one of several it is.
NAMED = {"a.doc", "late.docx", "a.jar", "a.csv", "a.json", "a.md", "a.py"}


@pytest.mark.parametrize(
    ("name", "content", "type_"), [(name, *each) for name, each in SAMPLES.items()], ids=list(SAMPLES)
)
def test_type(name: str, content: bytes, type_: str) -> None:
    """Content under an honest name has its type."""
    assert detect(content, filename=name) == type_


@pytest.mark.parametrize(
    ("content", "type_"),
    [each for name, each in SAMPLES.items() if name not in NAMED],
    ids=sorted(SAMPLES.keys() - NAMED),
)
def test_type_does_not_follow_the_name(content: bytes, type_: str) -> None:
    """No name makes a type of content that is of another one."""
    assert {detect(content, filename=name) for name in ("a", "a.png", "a.txt", "a.html", "a.exe")} == {type_}


@pytest.mark.parametrize(
    ("name", "content", "type_"),
    [
        ("a.docx", zipped("a.txt"), "application/zip"),
        ("a.xlsx", b"a,b\n", "text/plain"),
        ("a.png", b"\x01\x02\x03\x00", UNKNOWN),
        ("a.jpg", b"<html>", "text/html"),
        ("a.svg", b"just words", "text/plain"),
        ("a.csv", png(), "image/png"),
        ("a.json", b"\xff\xff\xfd\x00", UNKNOWN),
        ("a.gif", b"GIF89a/*....*/=1;<script>alert(1)</script>", "text/plain"),
    ],
)
def test_name_that_claims_too_much(name: str, content: bytes, type_: str) -> None:
    """A name is believed only where the content fits it."""
    assert detect(content, filename=name) == type_


def test_type_without_a_signature_goes_by_the_name() -> None:
    """Binary content of a type that no signature tells has the type of its name."""
    assert detect(bytes(range(256)), filename="a.h5") == "application/x-hdf5"


@pytest.mark.parametrize(("name", "type_"), [("a.txt", "text/plain"), ("a.csv", "text/csv"), ("a.png", UNKNOWN)])
def test_empty_content(name: str, type_: str) -> None:
    """Nothing can be an empty text, and no image."""
    assert detect(b"", filename=name) == type_


def test_text_that_is_cut_inside_a_character() -> None:
    """The first bytes of a long text may end in the middle of a character."""
    head = ("x" + "é" * 10_000).encode()[: default_detector.head_bytes]
    assert detect(head, filename="a.txt") == "text/plain"


@pytest.mark.parametrize(
    "content",
    [
        b"<!---->" * 2000 + b"x",
        b"<?xml" + b" " * 9000,
        b"<svg" * 3000,
        b"<" * 9000,
        b"PK\x03\x04" * 3000,
        b"\xff\xd8\xff" * 3000,
        b"\0\0\0\x18ftyp" * 1500,
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0abcd" * 1500,
        b"{" * 9000,
    ],
    ids=lambda content: repr(content[:8]),
)
@pytest.mark.parametrize("name", ["a", "a.svg", "a.docx"])
def test_hostile_content_takes_no_time(content: bytes, name: str) -> None:
    """Content made to keep a parser busy is told in far less time than a request takes."""
    begin = time.process_time()
    for _ in range(20):
        detect(content, filename=name)
    assert time.process_time() - begin < 1
