"""Names of files: safe ones from whatever a client sent, and headers that browsers read the same way."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import example, given, strategies as st

from litestar_filestore.sansio.disposition import (
    MAX_FILENAME_BYTES,
    aligned_filename,
    content_disposition,
    declared_filename,
    safe_filename,
)
from tests.effort import effort

NAMES = [
    pytest.param("report.pdf", "report.pdf", id="plain"),
    pytest.param("Jahresübersicht 2026.pdf", "Jahresübersicht 2026.pdf", id="unicode"),
    pytest.param("u\u0308ber.txt", "\u00fcber.txt", id="decomposed"),
    pytest.param("../../etc/passwd", "passwd", id="posix path"),
    pytest.param("C:\\Users\\me\\x.txt", "x.txt", id="windows path"),
    pytest.param("a/b\\c/d.txt", "d.txt", id="mixed path"),
    pytest.param("folder/", "download", id="folder"),
    pytest.param("", "download", id="empty"),
    pytest.param(" . .. ", "download", id="dots and blanks"),
    pytest.param("\u3000\u00a0 a.txt\u202f", "a.txt", id="unicode blanks"),
    pytest.param(".bashrc", "bashrc", id="hidden"),
    pytest.param('a\r\nSet-Cookie: x=1".txt', "a__Set-Cookie_ x=1_.txt", id="header injection"),
    pytest.param("a\x00b.txt", "a_b.txt", id="nul"),
    pytest.param("invoice\u202efdp.exe", "invoice_fdp.exe", id="right to left override"),
    pytest.param("a\u200bb\u2028c\ufeff.txt", "a_b_c_.txt", id="invisible characters"),
    pytest.param("\ud800\udfff.txt", "__.txt", id="lone surrogates"),
    pytest.param("\ue000\uffff.txt", "__.txt", id="private and unassigned"),
    pytest.param('<>:"|?*%.txt', "________.txt", id="characters of shells and windows"),
    pytest.param("con", "_con", id="device"),
    pytest.param("AUX.tar.gz", "_AUX.tar.gz", id="device with extensions"),
    pytest.param("com\u00b9.txt", "_com\u00b9.txt", id="device with superscript"),
    pytest.param("nul .txt", "_nul .txt", id="device and blank"),
    pytest.param("con" + " " * 300 + "b.txt", "_con.txt", id="device after shortening"),
    pytest.param("console.txt", "console.txt", id="not a device"),
    pytest.param("x" * 1000 + ".pdf", "x" * 196 + ".pdf", id="long"),
    pytest.param("é" * 1000 + ".tar.gz", "é" * 98 + ".gz", id="long and cut between characters"),
    pytest.param("x." + "y" * 1000, "x." + "y" * 198, id="no extension of that length"),
]

HEADERS = [
    pytest.param("report.pdf", 'attachment; filename="report.pdf"', id="ascii"),
    pytest.param(
        "Résumé.pdf", "attachment; filename=\"Resume.pdf\"; filename*=UTF-8''R%C3%A9sum%C3%A9.pdf", id="accents"
    ),
    pytest.param(
        "日本.pdf", "attachment; filename=\"download.pdf\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.pdf", id="no ascii"
    ),
    pytest.param("a.日本", "attachment; filename=\"a\"; filename*=UTF-8''a.%E6%97%A5%E6%9C%AC", id="extension"),
    pytest.param("\u2100.pdf", "attachment; filename=\"a_c.pdf\"; filename*=UTF-8''%E2%84%80.pdf", id="slash inside"),
    pytest.param('x";y=z.txt', 'attachment; filename="x_;y=z.txt"', id="quote"),
    pytest.param("it's (1) a+b~c.txt", 'attachment; filename="it\'s (1) a+b~c.txt"', id="punctuation"),
    pytest.param(
        "ü'()*;.txt", "attachment; filename=\"u'()_;.txt\"; filename*=UTF-8''%C3%BC%27%28%29_%3B.txt", id="attr-char"
    ),
]

_HEADER = re.compile(r"""(attachment|inline); filename="([^"\\\x00-\x1f\x7f-\uffff]+)"(?:; filename\*=UTF-8''(.+))?""")


@pytest.mark.parametrize(("name", "safe"), NAMES)
def test_names(name: str, safe: str) -> None:
    """Each sort of hostile name becomes a harmless one that people still know."""
    assert safe_filename(name) == safe


@given(st.text(alphabet=st.characters(), max_size=400))
@example("con." + "a" * 196)
@example("a\u0301" * 300)
def test_safe_names_are_safe(name: str) -> None:
    """Whatever comes in, what goes out can be saved on any system, and stays as it is."""
    safe = safe_filename(name)
    assert 1 <= len(safe.encode()) <= MAX_FILENAME_BYTES
    assert not set(safe) & set('/\\<>:"|?*%')
    assert not {unicodedata.category(char) for char in safe} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert safe == safe.strip(" .") == unicodedata.normalize("NFC", safe) == safe_filename(safe)


@pytest.mark.parametrize(("name", "header"), HEADERS)
def test_headers(name: str, header: str) -> None:
    """The ASCII form always, the whole name beside it where that says more."""
    assert content_disposition("attachment", name) == header


@given(st.text(alphabet=st.characters(), max_size=100), st.sampled_from(["attachment", "inline"]))
def test_headers_are_parsed_back(name: str, kind: str) -> None:
    """Any name gives one well-formed header, from which a client reads the safe name."""
    header = content_disposition("inline" if kind == "inline" else "attachment", name)
    match = _HEADER.fullmatch(header)
    assert match is not None
    assert match[1] == kind
    assert safe_filename(match[2]) == match[2]
    assert (unquote(match[3]) if match[3] else match[2]) == safe_filename(name)


@pytest.mark.parametrize("name", ["a\u0301\u0323" * 500_000, "/" * 1_000_000, "\u202e" * 1_000_000])
def test_huge_names_take_no_time(name: str) -> None:
    """A megabyte of combining marks is not sorted: that would take hours."""
    assert effort(lambda: content_disposition("attachment", name)) < 500


ALIGNED = [
    pytest.param("x.html", "image/png", "x.html.png", id="page that is a picture"),
    pytest.param("x.JPG", "image/jpeg", "x.JPG", id="fits"),
    pytest.param("x.jpeg", "image/jpeg", "x.jpeg", id="other extension of the type"),
    pytest.param("noext", "video/mp4", "noext.mp4", id="none"),
    pytest.param("x.html", "text/plain", "x.html.txt", id="active text"),
    pytest.param("x.SVG", "text/plain", "x.SVG.txt", id="active picture"),
    pytest.param("main.py", "text/plain", "main.py", id="source code"),
    pytest.param("x.docx", "application/zip", "x.docx", id="no opinion"),
    pytest.param("x" * 200, "image/png", "x" * 196 + ".png", id="long"),
]


@pytest.mark.parametrize(("name", "content_type", "aligned"), ALIGNED)
def test_extensions_follow_the_type(name: str, content_type: str, aligned: str) -> None:
    """A saved file is opened by its extension, so that may not promise more than the content."""
    assert aligned_filename(name, content_type) == aligned


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ""),
        ("", ""),
        ("inline", ""),
        ("inline; filename=a.txt", "a.txt"),
        ('attachment; FileName = "a b.txt"; size=3', "a b.txt"),
        (r'inline; filename="a\"b\\c.txt"', 'a"b\\c.txt'),
        ('inline; filename="x;y.txt"', "x;y.txt"),
        ("inline; filename=x; filename*=UTF-8''na%C3%AFve.txt", "na\u00efve.txt"),
        ("inline; filename*=iso-8859-1'en'na%EFve.txt; filename=x", "na\u00efve.txt"),
        ("inline; filename*=utf-16''x; filename=y", "y"),
        ("inline; filename*=UTF-8''%FF", "\ufffd"),
        ('inline; filename="na\u00c3\u00afve.txt"', "na\u00efve.txt"),
        ('inline; filename="na\u00efve.txt"', "na\u00efve.txt"),
        ('inline; filename="unclosed', ""),
        (f"inline; filename={'a' * 3000}", ""),
    ],
)
def test_declared_filename(header: str | None, expected: str) -> None:
    """The name that a client gives, in any of the ways that clients have."""
    assert declared_filename(header) == expected


@given(st.text(st.characters(max_codepoint=255)))
def test_any_header_has_a_filename_or_none(header: str) -> None:
    """Whatever it is: a text."""
    assert isinstance(declared_filename(f"inline; {header}"), str)


@given(st.text(min_size=1, max_size=60))
def test_written_filename_is_read_back(name: str) -> None:
    """What this package writes it reads."""
    assert declared_filename(content_disposition("inline", name)) == safe_filename(name)
