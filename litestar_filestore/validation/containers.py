"""Detects the content of containers: office documents in ZIP archives, films, and Microsoft's older documents.

The directory of a container, or the headers of its tracks, say what it holds; its magic number says nothing. If they
come long after the first bytes, the reading goes on as the content passes. Every reading is bounded: in the bytes that
it requests, in the number of entries that it looks at, and in what it unpacks.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.rule import Piece, Wanted
from litestar_filestore.validation.media_types import OPEN_DOCUMENT, OPEN_XML, UNKNOWN, Claims, choose

if TYPE_CHECKING:
    from litestar_filestore.core.rule import Reading

__all__ = (
    "ASF_TYPES",
    "COMPOUND_TYPES",
    "OGG_TYPES",
    "ZIP_TYPES",
    "brand_types",
    "guess_zip",
    "matroska_types",
    "read_compound",
    "read_iso_media",
    "read_matroska",
    "read_zip",
    "tell_asf",
    "tell_ogg",
)

# -- ZIP (APPNOTE 6.3.10), Open Packaging Conventions (ECMA-376-2), OpenDocument 1.3 part 2, EPUB 3.3 §4.2

_ZIP = "application/zip"
_CONTENT_TYPES = b"[Content_Types].xml"
_MIMETYPE = b"mimetype"
_MANIFEST = b"META-INF/manifest.xml"
_NAMED = (_CONTENT_TYPES, _MIMETYPE, _MANIFEST)
_DIRECTORY_BYTES = 256 * 1024
_MEMBER_BYTES = 32 * 1024
_UNPACKED_BYTES = 512 * 1024
_MOST_ENTRIES = 8192
_VENDOR = "application/vnd."

# The content type of an archive's main part, in lower case, and the media type of the file.
_PLAIN_PARTS = (
    "wordprocessingml.document", "wordprocessingml.template", "spreadsheetml.sheet", "spreadsheetml.template",
    "presentationml.presentation", "presentationml.template", "presentationml.slideshow",
)  # fmt: skip
_MACRO_PARTS = (
    "ms-excel.addin", "ms-excel.sheet", "ms-excel.template", "ms-powerpoint.addin", "ms-powerpoint.presentation",
    "ms-powerpoint.slideshow", "ms-powerpoint.template", "ms-visio.drawing", "ms-word.document",
)  # fmt: skip
_MAIN_PARTS = {
    **{f"{OPEN_XML}{each}.main+xml": OPEN_XML + each for each in _PLAIN_PARTS},
    **{f"{_VENDOR}{each}.macroenabled.main+xml": f"{_VENDOR}{each}.macroenabled.12" for each in _MACRO_PARTS},
    f"{_VENDOR}ms-word.template.macroenabledtemplate.main+xml": f"{_VENDOR}ms-word.template.macroenabled.12",
    f"{_VENDOR}ms-excel.sheet.binary.macroenabled.main": f"{_VENDOR}ms-excel.sheet.binary.macroenabled.12",
    f"{_VENDOR}ms-visio.drawing.main+xml": f"{_VENDOR}ms-visio.drawing",
    f"{_VENDOR}ms-package.3dmanufacturing-3dmodel+xml": "model/3mf",
    f"{_VENDOR}ms-package.xps-fixeddocumentsequence+xml": f"{_VENDOR}ms-xpsdocument",
}
_WITH_MACROS = {
    plain: f"{_VENDOR}{each}.macroenabled.12"
    for plain, each in (
        (f"{OPEN_XML}presentationml.presentation", "ms-powerpoint.presentation"),
        (f"{OPEN_XML}presentationml.slideshow", "ms-powerpoint.slideshow"),
        (f"{OPEN_XML}presentationml.template", "ms-powerpoint.template"),
        (f"{OPEN_XML}spreadsheetml.sheet", "ms-excel.sheet"),
        (f"{OPEN_XML}spreadsheetml.template", "ms-excel.template"),
        (f"{OPEN_XML}wordprocessingml.document", "ms-word.document"),
        (f"{OPEN_XML}wordprocessingml.template", "ms-word.template"),
        (f"{_VENDOR}ms-visio.drawing", "ms-visio.drawing"),
    )
}
_MACROS = "application/vnd.ms-office.vbaproject"
OFFICE_TYPES = tuple(dict.fromkeys(_MAIN_PARTS.values()))
_CONTENT_TYPE = re.compile(r"""ContentType\s{0,9}=\s{0,9}(?:"([^"<]{0,200})"|'([^'<]{0,200})')""")
_ROOT_TYPE = re.compile(
    rb"""<(?:[\w-]{1,20}:)?file-entry\s[^>]{0,400}?full-path\s?=\s?["']/["'][^>]{0,400}""", re.DOTALL
)
_ENTRY_TYPE = re.compile(rb"""media-type\s?=\s?["']([^"'<]{1,100})["']""")
_MIME = re.compile(rb"application/(?:vnd\.oasis\.opendocument\.[a-z-]{4,30}|epub\+zip|vnd\.adobe\.[a-z.+-]{3,40})")
ZIP_TYPES = (
    _ZIP,
    *OFFICE_TYPES,
    *(
        OPEN_DOCUMENT + each
        for each in (
            "base", "chart", "database", "formula", "graphics", "graphics-template", "image", "presentation",
            "presentation-template", "spreadsheet", "spreadsheet-template", "text", "text-master", "text-template",
            "text-web",
        )
    ),
    "application/epub+zip",
    "application/java-archive",
    "application/vnd.android.package-archive",
    "application/vnd.google-earth.kmz",
)  # fmt: skip


class _Entry(NamedTuple):
    offset: int
    """Offset of the local header in the file."""
    method: int
    packed: int


def guess_zip(head: bytes, claims: Claims) -> str:
    """Guess the type of an archive from its first members; the directory at its end decides."""
    if (named := choose((_ZIP, *ZIP_TYPES[1:]), claims)) != _ZIP or _ZIP in claims:
        return named
    for mark, type_ in (
        (b"mimetype" + OPEN_DOCUMENT.encode(), ""),
        (b"mimetypeapplication/epub+zip", "application/epub+zip"),
        (b"\0word/", f"{OPEN_XML}wordprocessingml.document"),
        (b"\0xl/", f"{OPEN_XML}spreadsheetml.sheet"),
        (b"\0ppt/", f"{OPEN_XML}presentationml.presentation"),
        (b"META-INF/MANIFEST.MF", "application/java-archive"),
    ):
        if (at := head.find(mark, 26, 8192)) >= 0:
            found = _MIME.match(head, at + len(_MIMETYPE))
            return type_ or (_known_mime(found.group()) if found is not None else _ZIP)
    return _ZIP


def read_zip(head: bytes, claims: Claims) -> Reading[str]:
    """Read the directory at the end of an archive, and the member that states the type."""
    entries = _directory((yield Wanted(-_DIRECTORY_BYTES, 0, _NAMED)))
    named = next((each for each in _NAMED if each in entries), None)
    if named is not None:
        return _TOLD[named](_unpacked((yield _where(entries[named])), entries[named]))
    if b"AndroidManifest.xml" in entries and (b"classes.dex" in entries or b"resources.arsc" in entries):
        return "application/vnd.android.package-archive"
    if b"META-INF/MANIFEST.MF" in entries:
        return "application/java-archive"
    return choose((_ZIP, "application/vnd.google-earth.kmz"), claims) if b"doc.kml" in entries else _ZIP


def _where(entry: _Entry) -> Wanted:
    return Wanted(entry.offset, _MEMBER_BYTES)


def _directory(tail: Piece) -> dict[bytes, _Entry]:
    """Return the members, none if the directory is damaged or too long."""
    data = tail.data
    end = data.rfind(b"PK\x05\x06")
    if end < 0 or len(data) < end + 22:
        return {}
    size, start, comment = struct.unpack_from("<IIH", data, end + 12)
    at = end - size
    if at < 0 or len(data) != end + 22 + comment:
        return {}
    shift = tail.offset + at - start  # by the data that somebody has put before the archive
    entries: dict[bytes, _Entry] = {}
    for _ in range(_MOST_ENTRIES):
        if not data.startswith(b"PK\x01\x02", at) or at + 46 > end:
            break
        method, packed, names, extras, comments, offset = struct.unpack_from("<10xH8xI4xHHH8xI", data, at)
        name = data[at + 46 : at + 46 + names]
        if name in entries:
            return {}  # two members of one name: readers disagree about which one counts
        entries[name] = _Entry(offset + shift, method, packed)
        at += 46 + names + extras + comments
    return entries


def _unpacked(piece: Piece, entry: _Entry) -> bytes:
    """Return the content of a member, or its start; nothing if it cannot be read."""
    data = piece.data
    if not data.startswith(b"PK\x03\x04") or len(data) < 30 or piece.offset != entry.offset:
        return b""
    names, extras = struct.unpack_from("<HH", data, 26)
    packed = data[30 + names + extras :][: entry.packed]
    if len(packed) < entry.packed:
        return b""
    if entry.method == 0:
        return packed
    try:
        unpacking = zlib.decompressobj(-15)
        content = unpacking.decompress(packed, _UNPACKED_BYTES)
    except zlib.error:
        return b""
    return content if entry.method == 8 and unpacking.eof else b""


def _open_xml(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    text = content.decode(encoding, "replace")
    # No program writes comments or character references here; an attacker does, to make readers see different things.
    if "<!" in text or "&#" in text:
        return _ZIP
    types = {(first or second).strip().lower() for first, second in _CONTENT_TYPE.findall(text)}
    found = {_MAIN_PARTS[each] for each in types if each in _MAIN_PARTS}
    if _MACROS in types:  # even if the main part does not admit it
        found = {_WITH_MACROS.get(each, each) for each in found}
    return found.pop() if len(found) == 1 else _ZIP


def _mime(content: bytes) -> str:
    found = _MIME.fullmatch(content.strip())
    return _ZIP if found is None else _known_mime(found.group())


def _known_mime(found: bytes) -> str:
    type_ = found.decode("ascii")
    return type_ if type_ in ZIP_TYPES else _ZIP


def _open_document(manifest: bytes) -> str:
    """Return the type of an OpenDocument file without the member ``mimetype``."""
    entry = _ROOT_TYPE.search(manifest, 0, 8192)
    type_ = None if entry is None else _ENTRY_TYPE.search(entry.group())
    found = None if type_ is None else _MIME.fullmatch(type_.group(1))
    return _ZIP if found is None else _known_mime(found.group())


_TOLD = {_CONTENT_TYPES: _open_xml, _MIMETYPE: _mime, _MANIFEST: _open_document}

# -- Compound files of Microsoft ([MS-CFB])

_COMPOUND = "application/x-ole-storage"
_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("PP97_DUALSTORAGE", "application/vnd.ms-powerpoint"),
    ("VisioDocument", "application/vnd.visio"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("Quill", "application/x-mspublisher"),
    ("Props14", "application/vnd.ms-project"),
    ("Props12", "application/vnd.ms-project"),
    ("Props9", "application/vnd.ms-project"),
)
_CLASSES = {
    bytes.fromhex(each): type_
    for each, type_ in (
        ("82100c0000000000c000000000000046", "application/x-msi"),
        ("84100c0000000000c000000000000046", "application/x-msi"),
        ("86100c0000000000c000000000000046", "application/x-msi"),
    )
}
COMPOUND_TYPES = (
    _COMPOUND,
    *dict.fromkeys((*(type_ for _, type_ in _STREAMS), "application/x-msi")),
    *OFFICE_TYPES,
)
_DIRECTORY_BYTES_OF_COMPOUND = 8192
_LAST_SECTOR = 0xFFFFFFFA


def read_compound(head: bytes, claims: Claims) -> Reading[str]:
    """Read the directory of a compound file; the names of its streams say which program wrote it."""
    if len(head) < 512:
        return _COMPOUND
    sector = 1 << struct.unpack_from("<H", head, 30)[0]
    first = struct.unpack_from("<I", head, 48)[0]
    number = first * 4 // sector
    table = struct.unpack_from("<I", head, 76 + 4 * number)[0] if number < 109 else _LAST_SECTOR
    # The sector table may come before or after the directory, and bytes that have passed cannot be requested again.
    wanted = [((first + 1) * sector, _DIRECTORY_BYTES_OF_COMPOUND)]
    if table < _LAST_SECTOR:
        wanted.append(((table + 1) * sector, sector))
    found: dict[int, bytes] = {}
    for at, length in sorted(wanted):
        found[at] = (yield Wanted(at, length)).data
    following = found.get((table + 1) * sector, b"")
    chain = _sectors(found[(first + 1) * sector], first, sector, following)
    names = _top_level(chain)
    if chain[80:96] in _CLASSES:
        return _CLASSES[chain[80:96]]
    if "EncryptedPackage" in names and "EncryptionInfo" in names:  # [MS-OFFCRYPTO]: nothing says what is inside
        return choose((_COMPOUND, *OFFICE_TYPES), claims)
    return next((type_ for name, type_ in _STREAMS if name in names), _COMPOUND)


def _sectors(directory: bytes, first: int, sector: int, table: bytes) -> bytes:
    """Return the contiguous part of the directory."""
    at = first % (sector // 4)
    count = 1
    while (
        count * sector < len(directory)
        and (at + count) * 4 <= len(table)
        and struct.unpack_from("<I", table, (at + count - 1) * 4)[0] == first + count
    ):
        count += 1
    return directory[: count * sector]


def _top_level(directory: bytes) -> set[str]:
    """Return the names at the root level; those of embedded documents are deeper."""
    names: set[str] = set()
    if len(directory) < 128 or directory[66:67] != b"\5":  # it may be cut off
        return names
    entries = [directory[at : at + 128] for at in range(0, len(directory) - 127, 128)]
    seen: set[int] = set()
    ahead = [struct.unpack_from("<I", directory, 76)[0]]
    while ahead:
        at = ahead.pop()
        if at in seen or at >= len(entries):
            continue
        seen.add(at)
        size, left, right = struct.unpack_from("<H2xII", entries[at], 64)
        names.add(entries[at][: max(min(size, 64) - 2, 0)].decode("utf-16-le", "replace"))
        ahead += [left, right]
    return names


# -- ISO base media (ISO 14496-12), QuickTime, HEIF (ISO 23008-12)

_QUICKTIME = "video/quicktime"
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("image/avif",)),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), ("image/heic", "image/heif")
    ),
    b"qt  ": (_QUICKTIME,),
    b"crx ": ("image/x-canon-cr3",),
    b"mjp2": ("video/mj2",),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), ("audio/mp4", "video/mp4")),
}
_MOVIES = {
    "video/mp4": ("video/mp4", "audio/mp4"),
    "video/3gpp": ("video/3gpp", "audio/3gpp"),
    "video/3gpp2": ("video/3gpp2", "audio/3gpp2"),
}
_ATOMS = frozenset((b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot", b"udta", b"uuid", b"PICT", b"junk", b"pict"))
_MOST_BOXES = 2048
_AHEAD_BYTES = 1024


def brand_types(head: bytes) -> tuple[str, ...]:
    """Return the types that the brands of a file allow, the most common one first."""
    brand = head[8:12]
    if brand in _BRANDS:
        return _BRANDS[brand]
    size = min(int.from_bytes(head[:4], "big"), 256)
    brands = {head[at : at + 4] for at in range(16, size, 4)}
    if brand in {b"mif1", b"msf1", b"mif2", b"miaf"}:
        inner = next((_BRANDS[each] for each in sorted(brands) if each in _BRANDS), ("image/heif", "image/heic"))
        return inner if inner[0].startswith("image/") else ("image/heif", "image/heic")
    if brand.startswith((b"3g2", b"KDDI")):
        return _MOVIES["video/3gpp2"]
    return _MOVIES["video/3gpp"] if brand.startswith((b"3gp", b"3gg", b"3ge", b"3gr", b"3gs")) else _MOVIES["video/mp4"]


def read_iso_media(head: bytes, claims: Claims) -> Reading[str]:
    """Read the headers of the tracks: a film without a video track is sound."""
    old = head[4:8] != b"ftyp"
    allowed = (_QUICKTIME,) if old else brand_types(head)
    if not old and not (len(allowed) > 1 and allowed[0].startswith(("video/", "audio/"))):
        return choose(allowed, claims)
    pictures, sounds, complete = yield from _tracks()
    if old:
        return _QUICKTIME if complete else UNKNOWN
    video = next(each for each in allowed if each.startswith("video/"))
    if pictures or not sounds:
        return video if pictures else choose((allowed[0],), claims)
    return next(each for each in allowed if each.startswith("audio/"))


def _tracks() -> Reading[tuple[bool, bool, bool]]:
    """Return whether there is video, whether there is sound, and whether there was a movie header."""
    pictures = sounds = False
    at, end = 0, -1
    piece = yield Wanted(0, _AHEAD_BYTES)
    for _ in range(_MOST_BOXES):
        if at + 32 > piece.offset + len(piece.data) and len(piece.data) == _AHEAD_BYTES:
            piece = yield Wanted(at, _AHEAD_BYTES)
        start = at - piece.offset
        if start < 0 or len(piece.data) < start + 8 or 0 < end <= at:
            break
        size, name = struct.unpack_from(">I4s", piece.data, start)
        if size == 1 and len(piece.data) >= start + 16:
            size = int.from_bytes(piece.data[start + 8 : start + 16], "big")
        if not name.isascii() or 0 < size < 8:
            break
        if name == b"moov":
            end = at + size
        if name in {b"moov", b"trak", b"mdia"}:
            size = 8
        elif name == b"hdlr":
            kind = piece.data[start + 16 : start + 20]
            pictures, sounds = pictures or kind == b"vide", sounds or kind == b"soun"
        if size == 0:
            break
        at += size
    return pictures, sounds, end > 0


# -- Matroska and WebM (RFC 9559), Ogg (RFC 3533), ASF

_MATROSKA = ("video/x-matroska", "audio/x-matroska")
_WEBM = ("video/webm", "audio/webm")
_DOCUMENT_TYPES = {b"webm": _WEBM, b"matroska": _MATROSKA}
_DOCUMENT_TYPE, _MOST_HEADER_ELEMENTS = 0x4282, 16
_SEGMENT, _TRACKS, _TRACK, _TRACK_TYPE, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0x1F43B675


def matroska_types(head: bytes) -> tuple[str, ...]:
    """Return the types that the EBML document type allows; none for another document type."""
    piece = Piece(0, head[:4096])
    header = _element(piece, 0)
    at = 0 if header is None else header[1]
    for _ in range(_MOST_HEADER_ELEMENTS):
        found = _element(piece, at)
        if found is None or found[0] == _SEGMENT:
            break
        if found[0] == _DOCUMENT_TYPE:
            return _DOCUMENT_TYPES.get(head[found[1] : found[1] + found[2]].rstrip(b"\0"), (UNKNOWN,))
        at = found[1] + found[2]
    return (UNKNOWN,)


def read_matroska(head: bytes, claims: Claims) -> Reading[str]:
    """Read the kinds of the tracks."""
    types = matroska_types(head)
    if len(types) == 1:
        return UNKNOWN
    kinds: set[int] = set()
    at = 0
    piece = yield Wanted(0, _AHEAD_BYTES)
    for _ in range(_MOST_BOXES):
        if at + 24 > piece.offset + len(piece.data) and len(piece.data) == _AHEAD_BYTES:
            piece = yield Wanted(at, _AHEAD_BYTES)
        found = _element(piece, at)
        if found is None or found[0] == _CLUSTER or (kinds and found[0] > 0xFFFFFF):
            break
        name, content, size = found
        if name == _TRACK_TYPE:
            kinds.add(piece.data[content - piece.offset] if content < piece.offset + len(piece.data) else 0)
        at = content if name in {_SEGMENT, _TRACKS, _TRACK} else content + size
    return types[1] if 2 in kinds and 1 not in kinds else types[0]


def _element(piece: Piece, at: int) -> tuple[int, int, int] | None:
    """Return id, offset of the content and size of an EBML element."""
    data, at = piece.data, at - piece.offset
    if at < 0 or at >= len(data) or data[at] == 0:
        return None
    length = 9 - data[at].bit_length()
    name = int.from_bytes(data[at : at + length], "big")
    at += length
    if length > 4 or at >= len(data) or data[at] == 0:
        return None
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return name, piece.offset + at + length, size


_OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD\0", b"\1video")
_OGG_AUDIO = (b"\1vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex   ", b"CELT")
OGG_TYPES = ("application/ogg", "audio/ogg", "video/ogg")


def tell_ogg(head: bytes, claims: Claims) -> str:
    """Look at the first packets of the streams, which come before everything else (RFC 3533 §4)."""
    sounds = False
    at = 0
    for _ in range(16):
        if not head.startswith(b"OggS", at) or len(head) < at + 28 or not head[at + 5] & 2:
            break
        content = at + 27 + head[at + 26]
        if head.startswith(_OGG_VIDEO, content):
            return "video/ogg"
        sounds = sounds or head.startswith(_OGG_AUDIO, content)
        at = content + sum(head[at + 27 : content])
    return "audio/ogg" if sounds else "application/ogg"


_ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
ASF_TYPES = ("video/x-ms-asf", "video/x-ms-wmv", "audio/x-ms-wma")


def tell_asf(head: bytes, claims: Claims) -> str:
    """Look for the kinds of the streams in the header."""
    header = head[: int.from_bytes(head[16:24], "little")]
    if _ASF_VIDEO in header:
        return choose(("video/x-ms-wmv", "video/x-ms-asf"), claims)
    return choose(("audio/x-ms-wma", "video/x-ms-asf") if _ASF_AUDIO in header else ("video/x-ms-asf",), claims)
