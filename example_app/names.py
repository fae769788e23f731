"""File names of strangers: made harmless on the way in, written as HTTP has it on the way out."""

import re
import unicodedata
from urllib.parse import quote

MAX_NAME_BYTES = 200

_UNSAFE = re.compile(r'[<>:"|?*%]')
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean_name(name: str) -> str:
    """Return a name for people: no folders, nothing invisible, nothing that turns the writing direction around."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    visible = "".join("_" if unicodedata.category(each) in _HIDDEN else each for each in last)
    return _shorten(_UNSAFE.sub("_", visible).strip(" .")) or "download"


def _shorten(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    end = f"{dot}{extension}".encode()
    if not stem or len(end) > MAX_NAME_BYTES // 2:
        stem, end = name, b""
    return (stem.encode()[: MAX_NAME_BYTES - len(end)] + end).decode(errors="ignore")


def attachment(name: str) -> str:
    """Return the value of Content-Disposition that saves a file as `name` (RFC 6266, RFC 8187).

    Old clients read the plain name, in which everything beyond ASCII is replaced; all others read the encoded one.
    """
    plain = re.sub(r'["\\]', "_", name.encode("ascii", "replace").decode().replace("?", "_"))
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
