"""The media types that files are served as, those that a browser may show inline, and those that it would execute.

Serving follows an allowlist, because nobody has a complete list of what browsers run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = (
    "ACTIVE_TYPES",
    "DEFAULT_CONTENT_TYPE",
    "INLINE_EXTENSIONS",
    "INLINE_TYPES",
    "PDF_TYPE",
    "SERVED_TYPES",
    "is_active",
    "served_type",
    "type_name",
)

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"
"""Served if the stored type is not on the allowlist; no program is started for it."""
PDF_TYPE: Final = "application/pdf"
"""Shown inline only on request: its viewers parse a lot, and do not start in a sandboxed document."""

INLINE_EXTENSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/avif": (".avif",),
    "audio/mpeg": (".mp3",),
    "audio/mp4": (".m4a", ".mp4"),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/wav": (".wav",),
    "audio/x-wav": (".wav",),
    "audio/flac": (".flac",),
    "audio/webm": (".weba", ".webm"),
    "video/mp4": (".mp4", ".m4v"),
    "video/webm": (".webm",),
    "video/ogg": (".ogv", ".ogg"),
    "text/plain": (".txt",),
}
"""Types that may be shown inline, with the extensions that fit them; the first is the usual one."""

INLINE_TYPES: Final = frozenset(INLINE_EXTENSIONS)
"""Types that may be shown inline: nothing in them is executed."""

SERVED_TYPES: Final = frozenset(
    (  # noqa: SIM905  # a list literal would be one line per type
        # documents
        "application/epub+zip application/msword application/oxps application/pdf application/rtf"
        " application/vnd.amazon.ebook application/vnd.ms-excel application/vnd.ms-outlook"
        " application/vnd.ms-powerpoint application/vnd.ms-project application/vnd.oasis.opendocument.chart"
        " application/vnd.oasis.opendocument.formula application/vnd.oasis.opendocument.graphics"
        " application/vnd.oasis.opendocument.presentation application/vnd.oasis.opendocument.presentation-template"
        " application/vnd.oasis.opendocument.spreadsheet application/vnd.oasis.opendocument.spreadsheet-template"
        " application/vnd.oasis.opendocument.text application/vnd.oasis.opendocument.text-template"
        " application/vnd.openxmlformats-officedocument.presentationml.presentation"
        " application/vnd.openxmlformats-officedocument.presentationml.slideshow"
        " application/vnd.openxmlformats-officedocument.presentationml.template"
        " application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        " application/vnd.openxmlformats-officedocument.spreadsheetml.template"
        " application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        " application/vnd.openxmlformats-officedocument.wordprocessingml.template application/vnd.visio"
        " application/vnd.ms-visio.drawing application/vnd.ms-xpsdocument application/x-mobipocket-ebook"
        " application/x-ole-storage text/rtf"
        # text and data
        " application/dicom application/geo+json application/json application/jsonl application/ld+json"
        " application/toml application/vnd.apache.avro application/vnd.apache.arrow.file"
        " application/vnd.apache.parquet application/n-quads application/n-triples application/trig"
        " application/vnd.google-earth.kmz application/vnd.tcpdump.pcap application/x-ipynb+json"
        " application/x-jsonlines application/x-netcdf application/x-parquet application/x-yaml model/gltf-binary"
        " application/vnd.sqlite3 application/x-hdf5 application/x-ndjson application/x-sqlite3"
        " application/x-subrip application/yaml text/calendar text/csv text/markdown text/plain"
        " text/tab-separated-values text/vcard text/x-vcalendar text/x-vcard text/vtt text/x-markdown text/x-yaml"
        " text/yaml"
        # archives
        " application/bzip2 application/gzip application/vnd.ms-cab-compressed application/vnd.rar"
        " application/x-7z-compressed application/x-brotli application/x-bzip2 application/x-compress"
        " application/x-gzip application/x-lz4 application/x-lzip application/x-lzma application/x-rar-compressed"
        " application/x-tar application/x-xz application/x-zip-compressed application/x-zstd application/zip"
        " application/zstd"
        # pictures
        " image/apng image/avif image/avif-sequence image/bmp image/gif image/heic image/heic-sequence image/heif"
        " image/heif-sequence image/ief image/jp2 image/jpeg image/jpg image/jpm image/jpx image/jxl image/ktx"
        " image/ktx2 image/pjpeg image/png image/qoi image/tiff image/tiff-fx image/vnd.adobe.photoshop"
        " image/vnd.djvu image/vnd.dwg image/vnd.dxf image/vnd.microsoft.icon image/vnd.ms-dds image/vnd.ms-photo"
        " image/vnd.radiance image/vnd.zbrush.pcx image/webp image/icns image/x-adobe-dng image/x-bmp"
        " image/x-canon-cr2 image/x-canon-cr3 image/x-cmu-raster image/x-exr image/x-fuji-raf image/x-icns"
        " image/x-icon image/x-ms-bmp image/x-nikon-nef image/x-olympus-orf image/x-panasonic-rw2 image/x-pcx"
        " image/x-png image/x-portable-anymap image/x-portable-bitmap image/x-portable-graymap"
        " image/x-portable-pixmap image/x-rgb image/x-sony-arw image/x-targa image/x-tga image/x-xbitmap"
        " image/x-xcf image/x-xpixmap image/x-xwindowdump image/ico image/pcx image/tga image/x-jp2-codestream"
        " image/x-psd"
        # sound
        " application/ogg audio/3gpp audio/3gpp2 audio/aac audio/ac3 audio/aiff audio/amr audio/amr-wb audio/ape"
        " audio/basic audio/eac3 audio/flac audio/m4a audio/midi audio/mp3 audio/mp4 audio/mpeg audio/ogg"
        " audio/opus audio/vnd.dts audio/vnd.wave audio/wav audio/wave audio/webm audio/vnd.rn-realaudio"
        " audio/x-aac audio/x-aiff audio/x-ape audio/x-caf audio/x-flac audio/x-m4a audio/x-m4b audio/x-matroska"
        " audio/x-midi audio/x-ms-wma audio/x-pn-realaudio audio/x-wav application/vnd.rn-realmedia audio/mp2"
        " audio/x-ac3 audio/x-aifc audio/x-au audio/x-wavpack"
        # films
        " video/3gpp video/3gpp2 video/mp2t video/mp4 video/mp4v video/mpeg video/ogg video/quicktime video/webm"
        " video/x-flv video/x-m4v video/x-matroska video/x-ms-asf video/x-ms-wmv video/x-msvideo video/x-sgi-movie"
        " video/avi video/mj2 video/msvideo video/vnd.avi video/vnd.dlna.mpeg-tts"
        # typefaces
        " application/font-sfnt application/font-woff application/vnd.ms-fontobject font/collection font/otf"
        " font/sfnt font/ttf font/woff font/woff2 application/octet-stream"
    ).split()
)
"""Types that files are served as; all others are served as `DEFAULT_CONTENT_TYPE`. No browser, and no viewer that a
browser starts, runs their content without asking. Office documents with macros, programs and installers are missing."""

ACTIVE_TYPES: Final = frozenset(
    (  # noqa: SIM905  # a list literal would be one line per type
        "application/hta application/mathml+xml application/postscript application/rdf+xml application/wasm"
        " application/x-shockwave-flash application/xhtml+xml application/xml application/xslt+xml image/svg+xml"
        " text/cache-manifest text/css text/html text/xml text/xsl"
        # All that the WHATWG's MIME Sniffing Standard, section 4.6, takes for JavaScript.
        " application/ecmascript application/javascript application/x-ecmascript application/x-javascript"
        " text/ecmascript text/javascript text/javascript1.0 text/javascript1.1 text/javascript1.2"
        " text/javascript1.3 text/javascript1.4 text/javascript1.5 text/jscript text/livescript text/x-ecmascript"
        " text/x-javascript"
    ).split()
)
"""Types whose content can run a script, style a page or load others. No configuration can serve files as these."""

# RFC 9110 section 8.3.1: type "/" subtype, both tokens.
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


def type_name(content_type: str) -> str:
    """Return ``type/subtype`` in lower case without parameters; `DEFAULT_CONTENT_TYPE` if it is malformed."""
    name = content_type.partition(";")[0].strip().lower()
    # Anchored, and only one type: "text/html;image/png" and "image/pngx" have both passed for a picture somewhere.
    return name if _TYPE.fullmatch(name) else DEFAULT_CONTENT_TYPE


def is_active(name: str) -> bool:
    """Return whether no configuration may allow a type.

    These are `ACTIVE_TYPES`, any XML, and ``multipart/*`` and ``message/*``, whose parts have types of their own.
    """
    return name in ACTIVE_TYPES or name.startswith(("multipart/", "message/")) or name.endswith("+xml")


def served_type(content_type: str, allowed: Collection[str] = SERVED_TYPES) -> str:
    """Return the ``Content-Type`` that stored content may be served with.

    A type that is not among `allowed` becomes `DEFAULT_CONTENT_TYPE`, whether it comes from an upload, a bucket or a
    row that another program wrote. Text is declared as UTF-8: a browser that has to guess takes ``+ADw-script+AD4-``
    for UTF-7.
    """
    name = type_name(content_type)
    if name not in allowed or is_active(name):
        return DEFAULT_CONTENT_TYPE
    return f"{name}; charset=utf-8" if name.startswith("text/") else name
