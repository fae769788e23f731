"""Objects for a browser: sound to seek in, and files that try to run a script."""

from __future__ import annotations

import io
import wave
from typing import Final

__all__ = ("CAUGHT", "HOSTILE", "IN_MEMORY", "SONG_SECONDS")

CAUGHT: Final = "/caught-a-script"
"""What a script asks for as soon as it runs."""
SONG_SECONDS: Final = 300
_SCRIPT: Final = f"new Image().src='{CAUGHT}';fetch('{CAUGHT}');document.title='caught'"
_HTML: Final = f'<!doctype html><body onload="{_SCRIPT}"><script>{_SCRIPT}</script>'.encode()
_SVG: Final = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{_SCRIPT}"><script>{_SCRIPT}</script></svg>'.encode()
_XHTML: Final = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><script>{_SCRIPT}</script></body></html>'.encode()
_XSLT: Final = (
    '<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#s"?><x><xsl:stylesheet id="s" version="1.0" '
    'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/"><html><script>'
    f"{_SCRIPT}</script></html></xsl:template></xsl:stylesheet></x>"
).encode()
_MHTML: Final = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
) + _HTML
_PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
)

HOSTILE: Final[dict[str, tuple[bytes, str]]] = {
    "page.html": (_HTML, "text/html"),
    "page-upper.html": (_HTML, "TEXT/HTML; charset=utf-7"),
    "page.xhtml": (_XHTML, "application/xhtml+xml"),
    "picture.svg": (_SVG, "image/svg+xml"),
    "sheet.xml": (_XSLT, "text/xml"),
    "app.xml": (_XHTML, "application/xml"),
    "feed.atom": (_XHTML, "application/atom+xml"),
    "archive.mhtml": (_MHTML, "multipart/related"),
    "message.eml": (_MHTML, "message/rfc822"),
    "script.js": (_SCRIPT.encode(), "text/javascript"),
    "module.mjs": (_SCRIPT.encode(), "application/javascript"),
    "style.css": (f"body{{background:url({CAUGHT})}}".encode(), "text/css"),
    "paper.pdf": (_PDF, "application/pdf"),
    "unknown.bin": (_HTML, "application/octet-stream"),
    # Pages that call themselves something harmless, some of which browsers once guessed.
    "page.txt": (_HTML, "text/plain"),
    "utf-7.txt": (b"+ADw-script+AD4-fetch('/caught-a-script')+ADw-/script+AD4-", "text/plain"),
    "utf-16.txt": (_HTML.decode().encode("utf-16"), "text/plain"),
    "page.png": (_HTML, "image/png"),
    "vector.png": (_SVG, "image/png"),
    "comment.gif": (b"GIF89a/*\x00\x00*/=1;" + _SCRIPT.encode() + _HTML, "image/gif"),
    "page.mp4": (_HTML, "video/mp4"),
    "page.mp3": (_HTML, "audio/mpeg"),
    "page.csv": (_HTML, "text/csv"),
}
"""Content and declared type by name; the script is at the beginning of each."""


def _song() -> bytes:
    """Return sound that is too long to be fetched at once."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(bytes(4 * 22_050 * SONG_SECONDS))
    return file.getvalue()


IN_MEMORY: Final = {**HOSTILE, "song": (_song(), "audio/wav")}
"""Content and type by name."""
