"""Tells text from binary content, and detects the kind of text."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.validation.media_types import Claims, is_text_type

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Text", "read_text", "text_type")


class Text(NamedTuple):
    """The first bytes of a file, read as text."""

    text: str
    """Its characters. In a legacy encoding, which nothing names, only the ASCII characters are right."""
    legacy: bool = False
    """Whether it is in a legacy encoding, not a Unicode one."""


_MARKS = (
    (codecs.BOM_UTF8, codecs.utf_8_decode),
    (codecs.BOM_UTF32_LE, codecs.utf_32_le_decode),
    (codecs.BOM_UTF32_BE, codecs.utf_32_be_decode),
    (codecs.BOM_UTF16_LE, codecs.utf_16_le_decode),
    (codecs.BOM_UTF16_BE, codecs.utf_16_be_decode),
)
# Control characters that occur in text: bell, backspace (man pages), tabs, line and form feeds, escape (coloured logs).
_IN_TEXT = bytes((*range(7, 14), 27, *range(32, 127), *range(128, 256)))
_PADDING = b"\0\x1a"
_CONTROLS = frozenset(map(chr, (*range(7), *range(14, 27), *range(28, 32), 127)))
# A log that was being written when the machine crashed has NULs where a line should begin.
_PADDED_LINE = re.compile(rb"(?<=\n)\x00+")
_SPACES = " \t\n\f\r"


def read_text(head: bytes, *, cut: bool, padded: bool = True) -> Text | None:
    """Return the first bytes of a file as text, or ``None`` if they are not text.

    Text is in Unicode or in an encoding that contains ASCII, such as those of Windows and the Macintosh, Shift-JIS and
    GBK. It has no control characters except those that occur in text. Ctrl-Z may come at its end and NUL between lines.

    Args:
        head: The first bytes. No bytes at all are an empty text.
        cut: Whether more may follow, so that `head` may end in the middle of a character.
        padded: Whether Ctrl-Z and NUL are ignored; not if a signature says that this is something else.
    """
    for mark, decode in _MARKS:
        if head.startswith(mark):
            text = _decoded(head[len(mark) :], decode, cut=cut)
            return Text(text) if text is not None and _CONTROLS.isdisjoint(text) else None
    if strange := head.translate(None, _IN_TEXT):
        if not padded or strange.translate(None, _PADDING):
            return None
        head = _without_padding(head, cut=cut)
        if not head or head.translate(None, _IN_TEXT):
            return None
    text = _decoded(head, codecs.utf_8_decode, cut=cut)
    return Text(text) if text is not None else Text(head.decode("latin-1"), legacy=True)


def _decoded(head: bytes, decode: Callable[[bytes, str, bool], tuple[str, int]], *, cut: bool) -> str | None:
    try:
        return decode(head, "strict", not cut)[0]
    except UnicodeDecodeError:
        return None


def _without_padding(head: bytes, *, cut: bool) -> bytes:
    if not cut:
        body = head.rstrip(_PADDING)
        if head.startswith(b"\x1a", len(body)):  # CP/M and DOS end text like this, and fill the rest of a block
            head = body
    return _PADDED_LINE.sub(b"", head)


# -- what kind of text

# What a text must look like to be of a type; a type that is not listed may be any text.
_JSON_START = re.compile(r'[{\["0-9-]|true|false|null')
_FIELD = re.compile(r"[!-9;-~]{1,76}:|From ")
_GEOMETRY = ('"coordinates"', '"features"', '"geometries"', '"geometry"')


def _json(start: str) -> bool:
    return _JSON_START.match(start) is not None


def _json_lines(start: str) -> bool:
    line = start.partition("\n")[0].rstrip(_SPACES)
    return _json(start) and line[-1] in '}]"el0123456789'


_LOOKS: dict[str, Callable[[str], bool]] = {
    "application/geo+json": lambda start: (
        start.startswith("{") and '"type"' in start and any(each in start for each in _GEOMETRY)
    ),
    "application/json": _json,
    "application/manifest+json": lambda start: start.startswith("{"),
    "application/mbox": lambda start: start.startswith("From "),
    "application/postscript": lambda start: start.startswith("%!"),
    "application/rtf": lambda start: start.startswith("{\\rtf"),
    "application/x-ipynb+json": lambda start: start.startswith("{") and ('"cells"' in start or '"nbformat"' in start),
    "application/x-ndjson": _json_lines,
    "application/x-pem-file": lambda start: "-----BEGIN " in start,
    "application/x-subrip": lambda start: start[:1].isdigit(),
    "message/rfc822": lambda start: _FIELD.match(start) is not None,
    "model/gltf+json": lambda start: start.startswith("{") and '"asset"' in start,
    "text/calendar": lambda start: start[:15].upper() == "BEGIN:VCALENDAR",
    "text/vcard": lambda start: start[:11].upper() == "BEGIN:VCARD",
    "text/vtt": lambda start: start.startswith("WEBVTT"),
}
_UNICODE_ONLY = frozenset(type_ for type_ in _LOOKS if "json" in type_)
# Text that begins like this has that type whatever its name; the others need the name to leave the type open.
_ALWAYS = (
    ("%PDF-", "application/pdf"),
    ("%!PS", "application/postscript"),
    ("{\\rtf", "application/rtf"),
    ("<?php", "application/x-httpd-php"),
    ("<?=", "application/x-httpd-php"),
)
_UNNAMED = ("text/calendar", "text/vcard", "text/vtt")


def text_type(text: Text, claimed: Claims) -> str:
    """Return the media type of a text.

    Args:
        text: Its start.
        claimed: The types that its name claims. They are believed if the text allows them, but text that browsers would
            run always gets its true type.
    """
    start = text.text.lstrip(_SPACES)
    if start[:1] in _MARKED:
        for mark, type_ in _ALWAYS:
            if start.startswith(mark):
                return type_
        if start.startswith("<") and (markup := _markup_type(start, claimed)) is not None:
            return markup
    for each in claimed:
        if is_text_type(each) and not _is_markup(each) and _may_be(each, text, start):
            return each
    return "text/plain" if claimed else next((each for each in _UNNAMED if _LOOKS[each](start)), "text/plain")


_MARKED = frozenset(mark[0] for mark, _ in _ALWAYS)


def _may_be(content_type: str, text: Text, start: str) -> bool:
    looks = _LOOKS.get(content_type)
    return looks is None or (looks(start) and not (text.legacy and content_type in _UNICODE_ONLY))


# -- markup

# The tags by which browsers recognise HTML (WHATWG MIME Sniffing §7.1).
_HTML_TAGS = frozenset(
    "!doctype html head script iframe h1 div font table a style title b body br p".split()  # noqa: SIM905
)
# Tags that may be in a cell of a table: they format text and load nothing.
_TAGS_IN_CELLS = frozenset("a b br code div em font h1 h2 h3 i p s small span strong sub sup u".split())  # noqa: SIM905
_XML_ROOTS = {
    "COLLADA": "model/vnd.collada+xml",
    "RDF": "application/rdf+xml",
    "feed": "application/atom+xml",
    "gpx": "application/gpx+xml",
    "html": "application/xhtml+xml",
    "kml": "application/vnd.google-earth.kml+xml",
    "math": "application/mathml+xml",
    "rss": "application/rss+xml",
    "score-partwise": "application/vnd.recordare.musicxml+xml",
    "stylesheet": "application/xslt+xml",
    "svg": "image/svg+xml",
    "transform": "application/xslt+xml",
}
_WITH_ROOT = frozenset(_XML_ROOTS.values())
_NAME_END = re.compile(r"[ \t\n\f\r/>]")


def _is_markup(content_type: str) -> bool:
    return content_type == "text/html" or content_type.endswith(("/xml", "+xml"))


class _Prologue(NamedTuple):
    """The start of a document up to its root."""

    declared: bool
    """Whether it begins like XML."""
    comment: bool
    """Whether it begins with a comment, which browsers take for HTML."""
    doctype: str
    root: str
    """Name of the first element as written; empty if none was found."""
    at: int
    """Offset of the first element."""


def _prologue(text: str) -> _Prologue:
    # Plain searches, each from the end of the one before: patterns with nested repeats take ages on hostile text.
    at, doctype = 0, ""
    for _ in range(_MOST_DECLARATIONS):
        if not text.startswith(("<?", "<!"), at):
            break
        if text.startswith("<!--", at):
            end = _after(text, "-->", at + 4)
        elif text.startswith("<?", at):
            end = _after(text, "?>", at + 2)
        else:
            doctype = doctype or _doctype(text, at)
            end = _after_declaration(text, at)
        if end < 0:
            return _Prologue(text.startswith("<?xml"), text.startswith("<!--"), doctype, "", at)
        at = _blank_end(text, end)
    root = _word(text, at + 1) if text.startswith("<", at) else ""
    return _Prologue(text.startswith("<?xml"), text.startswith("<!--"), doctype, root, at)


_MOST_DECLARATIONS = 1000
_BLANK = re.compile(r"[ \t\n\f\r]*")


def _blank_end(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _after(text: str, mark: str, at: int) -> int:
    found = text.find(mark, at)
    return -1 if found < 0 else found + len(mark)


def _doctype(text: str, at: int) -> str:
    word = _word(text, at + 2)
    return _word(text, _blank_end(text, at + 2 + len(word))).lower() if word.upper() == "DOCTYPE" else ""


def _after_declaration(text: str, at: int) -> int:
    end = _after(text, ">", at)
    inner = text.find("[", at, max(end, at))
    closing = text.find("]", inner) if inner >= 0 else -1
    return _after(text, ">", closing) if closing >= 0 else end


def _word(text: str, at: int) -> str:
    word = text[at : at + 64]
    end = _NAME_END.search(word)
    return word if end is None else word[: end.start()]


def _markup_type(text: str, claimed: Claims) -> str | None:
    """Return the type of markup, ``None`` for other text."""
    found = _prologue(text)
    tag = found.root.lower()
    if "text/markdown" in claimed or _is_table(text, found, tag, claimed):
        return None  # Markdown and table cells may begin with tags, and nothing runs them
    if found.doctype == "html" or (not found.declared and tag in _HTML_TAGS):
        xhtml = found.declared or ("application/xhtml+xml" in claimed and "http://www.w3.org/1999/xhtml" in text)
        return "application/xhtml+xml" if xhtml else "text/html"
    prefix, _, local = found.root.rpartition(":")
    if prefix.lower() == "hta":
        return "application/hta"
    if local in _XML_ROOTS or found.doctype == "svg":
        return _XML_ROOTS.get(local, "image/svg+xml")
    if tag == "svg":
        return "image/svg+xml"  # HTML's parser ignores case
    return _other_markup(found, claimed)


def _other_markup(found: _Prologue, claimed: Claims) -> str | None:
    if found.declared or found.root[:1].isalpha():
        fitting = (each for each in claimed if _is_markup(each) and each not in _WITH_ROOT)
        markup = next((each for each in fitting if not (found.declared and each == "text/html")), None)
        if markup is not None:
            return markup
    if found.declared:
        return "application/xml"
    return "text/html" if found.comment or found.doctype else None


def _is_table(text: str, found: _Prologue, tag: str, claimed: Claims) -> bool:
    if tag not in _TAGS_IN_CELLS or found.at or not {"text/csv", "text/tab-separated-values"} & set(claimed):
        return False
    line = text.partition("\n")[0]
    return not _DELIMITERS.isdisjoint(line[line.find(">") + 1 :]) and "<script" not in line.lower()


_DELIMITERS = frozenset(",;\t|")
