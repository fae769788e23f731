"""Media types as clients declare them (RFC 9110 §8.3.1): one that is none is not handed on.

A declared type is kept in rows, and databases differ in the text that they take: JSONB refuses NUL, all of them refuse
lone surrogates, and 30 KB are nobody's media type. What comes out of here is short and plain ASCII.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ("declared_charset", "declared_type")

# RFC 6838 section 4.2: at most 127 characters on each side. Some senders use other token characters, so all will do.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # noqa: S105  # a word of grammars
_TYPE: Final = re.compile(rf"{_TOKEN}{{1,127}}/{_TOKEN}{{1,127}}")
_CHARSET: Final = re.compile(rf';[ \t]*charset[ \t]*=[ \t]*(?:"([^"\\]{{0,40}})"|({_TOKEN}{{1,40}}))', re.IGNORECASE)


def declared_type(header: str | None) -> str | None:
    """Return the media type in a ``Content-Type``: lower case, without parameters, ``None`` if that is none."""
    type_ = (header or "").partition(";")[0].strip(" \t").lower()
    return type_ if _TYPE.fullmatch(type_) is not None else None


def declared_charset(header: str | None) -> str | None:
    """Return the encoding that a ``Content-Type`` names, ``None`` if it names none."""
    found = _CHARSET.search(header or "")
    return None if found is None else found[1] if found[2] is None else found[2]
