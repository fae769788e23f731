"""Tells text from bytes, and mark-up from other text."""

from __future__ import annotations

import codecs

__all__ = ("is_text_type", "read_text", "text_type")

_TEXT_TYPES = frozenset(
    {
        "application/json",
        "application/manifest+json",
        "application/n-quads",
        "application/n-triples",
        "application/postscript",
        "application/rtf",
        "application/sql",
        "application/trig",
        "application/x-csh",
        "application/x-latex",
        "application/x-sh",
        "application/x-tcl",
        "application/x-tex",
        "application/xhtml+xml",
        "application/xml",
        "application/yaml",
        "message/rfc822",
    }
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# No tab, line feed, form feed, carriage return and escape: those occur in text.
_CONTROLS = frozenset(map(chr, (*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20))))
# How HTML begins for browsers (WHATWG MIME Sniffing §7.1).
_HTML_TAGS = frozenset(
    "!doctype html head script iframe h1 div font table a style title b body br p".split()  # noqa: SIM905
)
_SPACES = " \t\n\f\r"


def is_text_type(content_type: str) -> bool:
    """Return whether files of this type are text, so that one without its signature is not of this type."""
    return content_type.startswith("text/") or content_type.endswith("+xml") or content_type in _TEXT_TYPES


def read_text(head: bytes, *, cut: bool) -> str | None:
    """Return the first bytes of a file as text, ``None`` if it is none.

    Text is UTF-8, or UTF-16 with a byte order mark, without NUL and the other control characters that no text has.

    Args:
        head: The first bytes. None at all are an empty text.
        cut: Whether `head` may end in the middle of a character.
    """
    mark, encoding = next((each for each in _MARKS if head.startswith(each[0])), (b"", "utf-8"))
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head[len(mark) :], final=not cut)
    except UnicodeDecodeError:
        return None
    return text if _CONTROLS.isdisjoint(text) else None


def text_type(text: str, claimed: tuple[str, ...]) -> str:
    """Return the media type of a text.

    Args:
        text: Its beginning.
        claimed: What its name says. Believed among text types; but what browsers would run is called by its name.
    """
    markup = _markup_type(text.lstrip(_SPACES), claimed)
    if markup is not None and "text/markdown" not in claimed:  # Markdown may begin with tags, and nothing runs it
        return markup
    fitting = (each for each in claimed if is_text_type(each) and not _is_markup(each))
    return next(fitting, "text/plain")


def _is_markup(content_type: str) -> bool:
    return content_type == "text/html" or content_type.endswith(("/xml", "+xml"))


def _markup_type(text: str, claimed: tuple[str, ...]) -> str | None:
    """Return the type of mark-up, ``None`` for other text."""
    # Plain searches: patterns with nested repeats can take ages on hostile text.
    start = text[:64].lower()
    if start.startswith(("<?xml", "<!--", "<svg", "<!doctype svg")):
        if "<svg" in text:
            return "image/svg+xml"
        if start.startswith("<?xml"):
            return next((each for each in claimed if each.endswith("+xml")), _xml_type(text))
        return "text/html"
    return "text/html" if start.startswith("<") and _first_tag(start) in _HTML_TAGS else _other(start, claimed)


def _xml_type(text: str) -> str:
    return "application/xhtml+xml" if "<html" in text else "application/xml"


def _other(start: str, claimed: tuple[str, ...]) -> str | None:
    # A document without a prologue: any tag may be the root of XML, so here the name has to say so. Not for SVG, whose
    # root was looked for.
    fitting = (each for each in claimed if _is_markup(each) and each != "image/svg+xml")
    return next(fitting, None) if start.startswith("<") else None


def _first_tag(start: str) -> str:
    name = start[1:]
    for end in (*_SPACES, ">", "/"):
        name = name.partition(end)[0]
    return name
