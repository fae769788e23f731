"""Media types as clients declare them (RFC 9110 §8.3.1); malformed ones are dropped.

A declared type is stored in rows, and databases differ in the text that they accept: JSONB refuses NUL, and all refuse
lone surrogates. No media type is 30 KB long, either. So this module only returns short, plain ASCII.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ("declared_charset", "declared_type")

# RFC 6838 section 4.2: at most 127 characters on each side. Some senders use other token characters, so allow them all.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # noqa: S105  # a word of grammars
_TYPE: Final = re.compile(rf"{_TOKEN}{{1,127}}/{_TOKEN}{{1,127}}")
_CHARSET: Final = re.compile(rf';[ \t]*charset[ \t]*=[ \t]*(?:"([^"\\]{{0,40}})"|({_TOKEN}{{1,40}}))', re.IGNORECASE)


def declared_type(header: str | None) -> str | None:
    """Return the media type of a ``Content-Type`` header: lower case, no parameters; ``None`` if it is malformed."""
    type_ = (header or "").partition(";")[0].strip(" \t").lower()
    return type_ if _TYPE.fullmatch(type_) is not None else None


def declared_charset(header: str | None) -> str | None:
    """Return the ``charset`` of a ``Content-Type`` header, ``None`` if it has none."""
    found = _CHARSET.search(header or "")
    return None if found is None else found[1] if found[2] is None else found[2]
