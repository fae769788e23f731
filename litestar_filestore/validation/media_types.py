"""Media types, the extensions of their files, and their aliases."""

from __future__ import annotations

import mimetypes
import re
from typing import TypeAlias

__all__ = (
    "OPEN_DOCUMENT",
    "OPEN_XML",
    "UNKNOWN",
    "Claims",
    "agree",
    "canonical",
    "choose",
    "extension_for",
    "extension_of",
    "is_text_type",
    "matches",
    "types_of_extension",
)

UNKNOWN = "application/octet-stream"
"""The type of bytes of which nothing is known (RFC 2046 §4.5.1)."""

Claims: TypeAlias = tuple[str, ...]
"""The types that the name of a file claims, see `types_of_extension`."""

_EXTENSION = re.compile(r"\.[a-z0-9]{1,10}")

_SAME: dict[str, str] = {
    "application/geo+json": "application/vnd.geo+json",
    "application/gpx+xml": "application/gpx",
    "application/gzip": "application/x-gzip",
    "application/json": "text/json",
    "application/msword": "application/vnd.ms-word",
    "application/pdf": "application/x-pdf",
    "application/rtf": "text/rtf",
    "application/vnd.apache.parquet": "application/parquet application/x-parquet",
    "application/vnd.ms-cab-compressed": "application/cab",
    "application/vnd.ms-excel": "application/msexcel application/x-msexcel",
    "application/vnd.rar": "application/x-rar application/x-rar-compressed",
    "application/vnd.sqlite3": "application/x-sqlite3",
    "application/x-7z-compressed": "application/x-7z",
    "application/x-bzip2": "application/bzip2",
    "application/x-httpd-php": "application/x-httpd-php-source application/x-php text/php text/x-php",
    "application/x-ndjson": "application/jsonl application/jsonlines application/ndjson application/x-jsonlines",
    "application/xml": "text/xml",
    "application/yaml": "application/x-yaml text/x-yaml text/yaml",
    "application/zip": "application/x-compressed application/x-zip application/x-zip-compressed",
    "application/zstd": "application/x-zstd",
    "audio/aac": "audio/x-aac",
    "audio/ac3": "audio/x-ac3",
    "audio/aiff": "audio/x-aifc audio/x-aiff",
    "audio/basic": "audio/x-au",
    "audio/flac": "audio/x-flac",
    "audio/midi": "audio/x-midi",
    "audio/mp4": "audio/m4a audio/x-m4a audio/x-m4b",
    "audio/mpeg": "audio/mp2 audio/mp3",
    "audio/wav": "audio/vnd.wave audio/wave audio/x-wav",
    "font/otf": "application/x-font-otf",
    "font/ttf": "application/font-sfnt application/x-font-ttf",
    "font/woff": "application/font-woff application/x-font-woff",
    "image/avif": "image/avif-sequence",
    "image/bmp": "image/x-bmp image/x-ms-bmp",
    "image/heic": "image/heic-sequence",
    "image/heif": "image/heif-sequence",
    "image/icns": "image/x-icns",
    "image/jpeg": "image/jpg image/pjpeg",
    "image/png": "image/x-png",
    "image/tiff": "image/tif",
    "image/vnd.adobe.photoshop": "application/photoshop image/x-psd",
    "image/vnd.microsoft.icon": "application/ico image/ico image/x-icon",
    "image/vnd.zbrush.pcx": "image/pcx image/x-pcx",
    "image/x-tga": "image/tga image/x-targa",
    "text/calendar": "application/ics text/x-vcalendar",
    "text/javascript": "application/javascript application/x-javascript",
    "text/markdown": "text/x-markdown",
    "text/vcard": "text/x-vcard",
    "video/mp2t": "video/vnd.dlna.mpeg-tts",
    "video/mp4": "video/mp4v video/x-m4v",
    "video/x-msvideo": "video/avi video/msvideo video/vnd.avi",
}
"""The aliases of each type."""
_CANONICAL = {other: one for one, others in _SAME.items() for other in others.split()}

OPEN_XML = "application/vnd.openxmlformats-officedocument."
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."

_EXTENSIONS_OF: dict[str, str] = {
    # Images
    "image/apng": ".apng",
    "image/avif": ".avif .avifs",
    "image/bmp": ".bmp .dib",
    "image/x-canon-cr3": ".cr3",
    "image/vnd.microsoft.icon": ".ico .cur",
    "image/vnd.dwg": ".dwg",
    "image/emf": ".emf",
    "image/x-exr": ".exr",
    "image/gif": ".gif",
    "image/heic": ".heic .heics .hif",
    "image/heif": ".heif .heifs",
    "image/icns": ".icns",
    "image/jpeg": ".jpg .jfif .jpe .jpeg .pjpeg",
    "image/jp2": ".jp2",
    "image/jpx": ".jpf .jpx",
    "image/jpm": ".jpm",
    "image/jxl": ".jxl",
    "image/x-portable-anymap": ".pam .pnm",
    "image/x-portable-bitmap": ".pbm",
    "image/vnd.zbrush.pcx": ".pcx",
    "image/x-portable-graymap": ".pgm",
    "image/png": ".png",
    "image/x-portable-pixmap": ".ppm",
    "image/vnd.adobe.photoshop": ".psb .psd",
    "image/qoi": ".qoi",
    "image/x-cmu-raster": ".ras",
    "image/x-rgb": ".rgb .sgi",
    "image/svg+xml": ".svg",
    "image/svg+xml-compressed": ".svgz",
    "image/x-tga": ".tga",
    "image/tiff": ".tif .tiff",
    "image/webp": ".webp",
    "image/wmf": ".wmf",
    "image/x-xwindowdump": ".xwd",
    # Sound
    "audio/3gpp": ".3ga",
    "audio/aac": ".aac .adts",
    "audio/ac3": ".ac3",
    "audio/aiff": ".aiff .aif .aifc",
    "audio/amr": ".amr",
    "audio/x-ape": ".ape",
    "audio/basic": ".au .snd",
    "audio/amr-wb": ".awb",
    "audio/x-caf": ".caf",
    "audio/eac3": ".eac3 .ec3",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a .m4b .m4p .m4r",
    "audio/midi": ".mid .midi",
    "audio/x-matroska": ".mka",
    "audio/mpeg": ".mp3 .mp2 .mpa",
    "audio/ogg": ".ogg .oga .opus .spx",
    "audio/vnd.rn-realaudio": ".ra .ram",
    "audio/wav": ".wav .rf64 .wave",
    "audio/webm": ".weba",
    "audio/x-ms-wma": ".wma",
    "audio/x-wavpack": ".wv",
    # Video
    "video/3gpp2": ".3g2 .3gpp2",
    "video/3gpp": ".3gp .3gpp",
    "video/x-ms-asf": ".asf",
    "video/x-msvideo": ".avi",
    "video/mp4": ".mp4 .f4v .m4v .mpg4",
    "video/x-flv": ".flv",
    "video/mpeg": ".mpg .m2p .mpe .mpeg .vob",
    "video/mp2t": ".m2t .m2ts .mts .ts",
    "video/mj2": ".mj2",
    "video/x-matroska": ".mkv",
    "video/quicktime": ".mov .qt",
    "video/x-sgi-movie": ".movie",
    "video/ogg": ".ogv",
    "application/vnd.rn-realmedia": ".rm .rmvb",
    "video/webm": ".webm",
    "video/x-ms-wmv": ".wmv",
    # Documents
    "application/pdf": ".pdf .ai",
    "application/x-mobipocket-ebook": ".mobi .azw .azw3",
    "image/vnd.djvu": ".djv .djvu",
    "application/msword": ".doc .dot",
    "application/vnd.ms-word.document.macroenabled.12": ".docm",
    OPEN_XML + "wordprocessingml.document": ".docx",
    "application/vnd.ms-word.template.macroenabled.12": ".dotm",
    OPEN_XML + "wordprocessingml.template": ".dotx",
    "application/postscript": ".ps .eps",
    "application/epub+zip": ".epub",
    "application/vnd.ms-project": ".mpp",
    "application/vnd.ms-outlook": ".msg",
    OPEN_DOCUMENT + "base": ".odb",
    OPEN_DOCUMENT + "chart": ".odc",
    OPEN_DOCUMENT + "formula": ".odf",
    OPEN_DOCUMENT + "graphics": ".odg",
    OPEN_DOCUMENT + "image": ".odi",
    OPEN_DOCUMENT + "text-master": ".odm",
    OPEN_DOCUMENT + "presentation": ".odp",
    OPEN_DOCUMENT + "spreadsheet": ".ods",
    OPEN_DOCUMENT + "text": ".odt",
    OPEN_DOCUMENT + "graphics-template": ".otg",
    OPEN_DOCUMENT + "presentation-template": ".otp",
    OPEN_DOCUMENT + "spreadsheet-template": ".ots",
    OPEN_DOCUMENT + "text-template": ".ott",
    "application/vnd.ms-powerpoint": ".ppt .pot .pps",
    "application/vnd.ms-powerpoint.template.macroenabled.12": ".potm",
    OPEN_XML + "presentationml.template": ".potx",
    "application/vnd.ms-powerpoint.addin.macroenabled.12": ".ppam",
    "application/vnd.ms-powerpoint.slideshow.macroenabled.12": ".ppsm",
    OPEN_XML + "presentationml.slideshow": ".ppsx",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": ".pptm",
    OPEN_XML + "presentationml.presentation": ".pptx",
    "application/x-mspublisher": ".pub",
    "application/rtf": ".rtf",
    "application/vnd.visio": ".vsd",
    "application/vnd.ms-visio.drawing.macroenabled.12": ".vsdm",
    "application/vnd.ms-visio.drawing": ".vsdx",
    "application/vnd.ms-excel": ".xls .xla .xlt",
    "application/vnd.ms-excel.addin.macroenabled.12": ".xlam",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": ".xlsb",
    "application/vnd.ms-excel.sheet.macroenabled.12": ".xlsm",
    OPEN_XML + "spreadsheetml.sheet": ".xlsx",
    "application/vnd.ms-excel.template.macroenabled.12": ".xltm",
    OPEN_XML + "spreadsheetml.template": ".xltx",
    "application/vnd.ms-xpsdocument": ".xps",
    # Archives
    "model/3mf": ".3mf",
    "application/x-7z-compressed": ".7z",
    "application/vnd.android.package-archive": ".apk",
    "application/x-archive": ".ar",
    "application/x-bzip2": ".bz2 .tbz2",
    "application/vnd.ms-cab-compressed": ".cab",
    "application/zip": ".zip .cbz .whl",
    "application/x-deb": ".deb",
    "application/gzip": ".gz .tgz",
    "application/java-archive": ".jar .war",
    "application/vnd.google-earth.kmz": ".kmz",
    "application/x-lz4": ".lz4",
    "application/vnd.rar": ".rar",
    "application/x-rpm": ".rpm",
    "application/x-tar": ".tar",
    "application/x-xz": ".txz .xz",
    "application/x-compress": ".z",
    "application/zstd": ".zst",
    # Fonts and data
    "application/vnd.apache.arrow.file": ".arrow .feather",
    "application/vnd.apache.avro": ".avro",
    "application/x-chrome-extension": ".crx",
    "application/vnd.sqlite3": ".sqlite .db .sqlite3",
    "application/dicom": ".dcm",
    "application/vnd.ms-fontobject": ".eot",
    "model/gltf-binary": ".glb",
    "application/x-hdf5": ".h5 .hdf5",
    "application/x-netcdf": ".nc",
    "font/collection": ".otc .ttc",
    "font/otf": ".otf",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.tcpdump.pcap": ".pcap",
    "font/ttf": ".ttf",
    "application/wasm": ".wasm",
    "font/woff": ".woff",
    "font/woff2": ".woff2",
    # Programs, and files that Windows or a web server runs: never text/plain, although they are text
    "application/x-asp": ".asp .aspx",
    "application/x-bat": ".bat .cmd",
    "application/x-cgi": ".cgi",
    "application/java-vm": ".class",
    "application/x-msdownload": ".exe .com .cpl .dll .pif .scr .sys",
    "application/x-elf": ".elf .so",
    "application/hta": ".hta",
    "application/x-setupscript": ".inf",
    "text/javascript": ".js .mjs",
    "application/x-jscript-encoded": ".jse",
    "application/x-jsp": ".jsp .jspx",
    "application/x-ms-shortcut": ".lnk .shb",
    "application/x-ms-console": ".msc",
    "application/x-msi": ".msi .msp",
    "application/x-httpd-php": ".php .phar .php3 .php4 .php5 .php7 .php8 .phps .pht .phtml",
    "application/x-powershell": ".ps1 .psd1 .psm1",
    "application/x-ms-regedit": ".reg",
    "application/x-windows-explorer-command": ".scf",
    "application/x-windows-scriptlet": ".sct .wsc",
    "application/x-windows-scrap": ".shs",
    "application/x-server-parsed-html": ".shtml",
    "application/vnd.adobe.flash.movie": ".swf",
    "application/x-mswinurl": ".url .website",
    "application/x-vbscript": ".vbs .vb",
    "application/x-vbscript-encoded": ".vbe",
    "application/x-windows-script": ".ws .wsf .wsh",
    # Text
    "application/atom+xml": ".atom",
    "text/csv": ".csv",
    "model/vnd.collada+xml": ".dae",
    "message/rfc822": ".eml",
    "application/geo+json": ".geojson",
    "model/gltf+json": ".gltf",
    "application/gpx+xml": ".gpx",
    "text/html": ".html .htm",
    "text/calendar": ".ics .ical .ifb",
    "application/x-ipynb+json": ".ipynb",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl .ndjson",
    "application/vnd.google-earth.kml+xml": ".kml",
    "text/plain": ".txt .log .text",
    "text/markdown": ".md .markdown",
    "application/mathml+xml": ".mathml",
    "application/mbox": ".mbox",
    "application/x-pem-file": ".pem",
    "application/rdf+xml": ".rdf",
    "application/rss+xml": ".rss",
    "application/sql": ".sql",
    "application/x-subrip": ".srt",
    "application/toml": ".toml",
    "text/tab-separated-values": ".tsv",
    "text/vcard": ".vcf",
    "text/vtt": ".vtt",
    "application/manifest+json": ".webmanifest",
    "application/xhtml+xml": ".xhtml .xht",
    "application/xml": ".xml .xsd",
    "application/xslt+xml": ".xsl .xslt",
    "application/yaml": ".yaml .yml",
}
"""The extensions of each type, the usual one first. These types are detected from content."""

_MAY_ALSO_BE: dict[str, tuple[str, ...]] = {
    ".ai": ("application/postscript",),
    ".heic": ("image/heif",),
    ".heics": ("image/heif",),
    ".heif": ("image/heic",),
    ".heifs": ("image/heic",),
    ".hif": ("image/heif",),
    ".pbm": ("image/x-portable-anymap",),
    ".pgm": ("image/x-portable-anymap",),
    ".png": ("image/apng",),
    ".pnm": ("image/x-portable-bitmap", "image/x-portable-graymap", "image/x-portable-pixmap"),
    ".ppm": ("image/x-portable-anymap",),
    ".3ga": ("audio/mp4",),
    ".flac": ("audio/ogg",),
    ".mpa": ("video/mpeg",),
    ".ogg": ("video/ogg", "application/ogg"),
    ".3g2": ("audio/3gpp2",),
    ".3gp": ("audio/3gpp",),
    ".3gpp": ("audio/3gpp",),
    ".3gpp2": ("audio/3gpp2",),
    ".asf": ("video/x-ms-wmv", "audio/x-ms-wma"),
    ".mkv": ("audio/x-matroska",),
    ".mp4": ("audio/mp4",),
    ".mpg4": ("audio/mp4",),
    ".ts": ("text/x-typescript",),
    ".webm": ("audio/webm",),
    ".nc": ("application/x-hdf5",),
    ".ttf": ("font/otf",),
    ".com": ("application/x-bat",),
    ".json": ("application/geo+json", "application/x-ndjson"),
    ".xsl": ("application/xml",),
}
"""Other types that files with an extension may have."""

_TEXT_TYPES = frozenset({
    "application/geo+json", "application/hta", "application/json", "application/manifest+json", "application/mbox",
    "application/n-quads", "application/n-triples", "application/postscript", "application/rtf", "application/sql",
    "application/toml", "application/trig", "application/x-asp", "application/x-bat", "application/x-cgi",
    "application/x-csh", "application/x-httpd-php", "application/x-ipynb+json", "application/x-jscript-encoded",
    "application/x-jsp", "application/x-latex", "application/x-ms-console", "application/x-ms-regedit",
    "application/x-mswinurl", "application/x-ndjson", "application/x-pem-file", "application/x-powershell",
    "application/x-server-parsed-html", "application/x-setupscript", "application/x-sh", "application/x-subrip",
    "application/x-tcl", "application/x-tex", "application/x-vbscript", "application/x-vbscript-encoded",
    "application/x-windows-explorer-command", "application/x-windows-script", "application/x-windows-scriptlet",
    "application/xml", "application/yaml", "message/rfc822", "model/gltf+json",
})  # fmt: skip


def canonical(content_type: str) -> str:
    """Return the canonical name of a media type: lower case, without parameters, aliases resolved."""
    bare = content_type.partition(";")[0].strip().lower()
    return _CANONICAL.get(bare, bare)


def extension_of(filename: str) -> str:
    """Return the last extension of a name, in lower case with its dot; ``""`` if it has none."""
    stem, dot, last = filename.rpartition(".")
    found = f"{dot}{last}".lower()
    return found if stem and _EXTENSION.fullmatch(found) else ""


def is_text_type(content_type: str) -> bool:
    """Return whether files of this type are text."""
    return content_type.startswith("text/") or content_type.endswith("+xml") or content_type in _TEXT_TYPES


def _texts_of_python() -> dict[str, tuple[str, ...]]:
    # Do not use the table of `mimetypes.init`, which reads files of the operating system: what is allowed must not
    # depend on them. Take only text types: this package cannot recognise the bytes of the others.
    found = {ext: canonical(each) for ext, each in mimetypes.MimeTypes().types_map[True].items()}
    return {ext: (type_,) for ext, type_ in found.items() if is_text_type(type_)}


_TYPES = _texts_of_python() | {
    ext: (type_, *_MAY_ALSO_BE.get(ext, ())) for type_, exts in _EXTENSIONS_OF.items() for ext in exts.split()
}
_USUAL = {
    **{types[0]: ext for ext, types in reversed(_TYPES.items())},
    **{type_: exts.split()[0] for type_, exts in _EXTENSIONS_OF.items()},
    "image/apng": ".png",  # viewers without support for it show its first picture
}


def types_of_extension(ext: str) -> Claims:
    """Return the media types that files with this extension may have; none for an unknown extension."""
    return _TYPES.get(ext, ())


def choose(allowed: tuple[str, ...], claims: Claims) -> str:
    """Return the first type that the name claims and the bytes allow, else the usual one."""
    return next((each for each in claims if each in allowed), allowed[0])


def extension_for(content_type: str, filename: str) -> str:
    """Return the extension for files of a type: that of `filename` if it belongs to it, else the usual one.

    ``""`` if no extension is known, and for `UNKNOWN`.
    """
    if content_type == UNKNOWN:
        return ""
    own = extension_of(filename)
    return own if content_type in types_of_extension(own) else _USUAL.get(content_type, "")


def agree(filename: str, content_type: str) -> bool:
    """Return whether content of this type may have the extension of a name.

    An unknown or missing extension claims nothing. Only the last one counts, as it does for operating systems.
    """
    claimed = types_of_extension(extension_of(filename))
    return not claimed or content_type in claimed


def matches(content_type: str, pattern: str) -> bool:
    """Return whether a canonical type is `pattern`, which may end in ``/*``; compared as a whole, never by prefix."""
    kind, _, subtype = pattern.partition("/")
    return content_type == pattern or (subtype == "*" and kind in {"*", content_type.partition("/")[0]})
