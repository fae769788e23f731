"""The table of signatures: which bytes at which offset identify which types.

A magic number of two or three bytes proves nothing, so each short one comes with a check of the rest of the header. Nor
does one of printable characters, because a letter may begin like that: content that reads as text is text.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from litestar_filestore.core.rule import Reading, Wanted
from litestar_filestore.validation import containers, sound
from litestar_filestore.validation.media_types import UNKNOWN, Claims, choose

__all__ = ("BY_NAME", "Signature", "signature_of")

Tell: TypeAlias = Callable[[bytes, Claims], str]
Read: TypeAlias = Callable[[bytes, Claims], Reading[str]]


@dataclass(frozen=True)
class Signature:
    """One row of the table."""

    magic: bytes
    types: tuple[str, ...]
    """Types that the bytes allow; the first one applies unless the name chooses another."""
    fits: Callable[[bytes], bool] | None = None
    """Checks the rest of the header."""
    tell: Tell | None = None
    """Chooses the type by the first bytes instead of the name."""
    read: Read | None = None
    """Chooses the type by later bytes; until then `tell` or the name decides."""
    printable: bool = False
    """Whether a text may begin with these bytes."""


def signature_of(head: bytes) -> Signature | None:
    """Return the row that fits these first bytes, or ``None``."""
    for row in _BY_FIRST_BYTE[head[0]]:
        if head.startswith(row.magic) and (row.fits is None or row.fits(head)):
            return row
    for at, rows in _FURTHER_ON:
        found = rows.get(head[at : at + 4])
        if found is not None and (found.fits is None or found.fits(head)):
            return found
    return None


# -- checks of a header besides its magic number


def _u16(head: bytes, at: int, order: str = "<") -> int:
    return cast("int", struct.unpack_from(order + "H", head, at)[0]) if len(head) >= at + 2 else -1


def _u32(head: bytes, at: int, order: str = "<") -> int:
    return cast("int", struct.unpack_from(order + "I", head, at)[0]) if len(head) >= at + 4 else -1


def _has(at: int, *marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(marks, at)


def _at_least(length: int) -> Callable[[bytes], bool]:
    return lambda head: len(head) >= length


def _web_font(head: bytes) -> bool:
    return len(head) >= 44 and head[14:16] == b"\0\0"


def _tiff(head: bytes) -> bool:
    return _u32(head, 4, "<" if head.startswith(b"I") else ">") >= 8


def _icon(head: bytes) -> bool:
    count = _u16(head, 4)
    return 0 < count <= 256 and head[9:10] == b"\0" and _u32(head, 18) >= 6 + 16 * count


def _pcx(head: bytes) -> bool:
    if len(head) < 128 or head[1] not in {0, 2, 3, 4, 5} or head[2] > 1 or head[3] not in {1, 2, 4, 8}:
        return False
    left, top, right, bottom = struct.unpack_from("<4H", head, 4)
    return left <= right and top <= bottom and head[64] == 0 and 0 < head[65] <= 4


def _sgi(head: bytes) -> bool:
    return len(head) >= 12 and head[2] <= 1 and head[3] in {1, 2} and 0 < _u16(head, 4, ">") <= 3


def _window_dump(head: bytes) -> bool:
    return 100 <= _u32(head, 0, ">") < 4096 and 0 <= _u32(head, 8, ">") <= 2 and 0 < _u32(head, 12, ">") <= 32


def _portable(head: bytes) -> bool:
    return head[2:3].isspace() and (head[3:4].isdigit() or head[3:4] == b"#")


def _bzip2(head: bytes) -> bool:
    return head[3:4].isdigit() and head[4:10] in {b"1AY&SY", b"\x17rE8P\x90"}


def _font(head: bytes) -> bool:
    return 0 < _u16(head, 4, ">") <= 128 and head[12:16].strip(b" ").replace(b"/", b"x").isalnum()


def _local_file(head: bytes) -> bool:
    return 0 <= _u16(head, 4) & 0xFF <= 63 and _u16(head, 26) > 0


def _compound(head: bytes) -> bool:
    return _u16(head, 28) == 0xFFFE and _u16(head, 30) in {9, 12}


def _java_class(head: bytes) -> bool:
    return 44 < _u16(head, 6, ">") < 200  # else it is a macOS program for several processors


def _ac3(head: bytes) -> bool:
    return sound.tell_ac3(head, ()) != UNKNOWN


def _frames(head: bytes) -> bool:
    return sound.tell_frames(head, ()) != UNKNOWN


def _tga(head: bytes) -> bool:
    """Return whether this can be a Truevision header (TGA 2.0 §C.2), which has no magic number."""
    if len(head) < 18 or head[1] > 1 or head[2] not in {1, 2, 3, 9, 10, 11} or head[16] not in {8, 15, 16, 24, 32}:
        return False
    mapped = head[2] in {1, 9}
    if mapped != (head[1] == 1) or (mapped and head[7] not in {15, 16, 24, 32}) or (not mapped and any(head[3:8])):
        return False
    return _u16(head, 12) > 0 and _u16(head, 14) > 0 and head[17] < 64


def _read_tga(head: bytes, claims: Claims) -> Reading[str]:
    """Look for the footer of version 2; without one the size must be right, if it can be known."""
    width, height, depth = struct.unpack_from("<HHB", head, 12)
    piece = yield Wanted(-26, 26)
    if piece.data.endswith(b"TRUEVISION-XFILE.\0"):
        return "image/x-tga"
    colours = _u16(head, 5) * -(-head[7] // 8) if head[1] else 0
    pixels = width * height * -(-depth // 8) if head[2] < 8 else 1
    whole = piece.offset + len(piece.data) >= 18 + head[0] + colours + pixels
    return "image/x-tga" if whole and "image/x-tga" in claims else UNKNOWN


def _tell_svgz(head: bytes, claims: Claims) -> str:
    """Look at the compressed content if the name says that it is a drawing."""
    if "image/svg+xml-compressed" not in claims:
        return "application/gzip"
    import zlib

    from litestar_filestore.validation.text import Text, text_type

    try:
        content = zlib.decompressobj(31).decompress(head[:16384], 65536)
    except zlib.error:
        return "application/gzip"
    drawn = text_type(Text(content.decode("utf-8", "replace").removeprefix("\ufeff")), ()) == "image/svg+xml"
    return "image/svg+xml-compressed" if drawn else "application/gzip"


def _tell_matroska(head: bytes, claims: Claims) -> str:
    return choose(containers.matroska_types(head), claims)


def _tell_brand(head: bytes, claims: Claims) -> str:
    return choose(containers.brand_types(head), claims)


def _tell_png(head: bytes, claims: Claims) -> str:
    return choose(("image/png", "image/apng") if b"acTL" in head[:1024] else ("image/png",), claims)


def _tell_jp2(head: bytes, _: Claims) -> str:
    return {b"jpx ": "image/jpx", b"jpm ": "image/jpm", b"mjp2": "video/mj2"}.get(head[20:24], "image/jp2")


def _read_parquet(_head: bytes, _claims: Claims) -> Reading[str]:
    tail = yield Wanted(-4, 0)
    return "application/vnd.apache.parquet" if tail.data == b"PAR1" else UNKNOWN


def _sun_audio(head: bytes) -> bool:
    return 24 <= _u32(head, 4, ">") < 65536 and 0 < _u32(head, 12, ">") < 28


def _flash_video(head: bytes) -> bool:
    return head[4:5] in {b"\1", b"\4", b"\5"} and head[5:9] == b"\0\0\0\x09"


def _tell_portable(head: bytes, claims: Claims) -> str:
    return choose((_PORTABLE[head[1:2]], "image/x-portable-anymap"), claims)


_PORTABLE = {
    **dict.fromkeys((b"1", b"4"), "image/x-portable-bitmap"),
    **dict.fromkeys((b"2", b"5"), "image/x-portable-graymap"),
    **dict.fromkeys((b"3", b"6"), "image/x-portable-pixmap"),
    b"7": "image/x-portable-anymap",
}

# -- the table

_PROGRAM = ("application/x-msdownload",)
_MOVIES = ("video/mp4", "audio/mp4")

_ROWS: tuple[Signature, ...] = (
    # Images
    Signature(b"\x89PNG\r\n\x1a\n", ("image/png", "image/apng"), _has(12, b"IHDR", b"CgBI"), tell=_tell_png),
    Signature(b"\xff\xd8\xff", ("image/jpeg",), lambda head: head[3:4] >= b"\xc0"),
    Signature(b"GIF89a", ("image/gif",)),
    Signature(b"GIF87a", ("image/gif",)),
    Signature(b"RIFF", ("image/webp",), _has(8, b"WEBP")),
    Signature(b"BM", ("image/bmp",), lambda head: _u32(head, 14) in {12, 16, 40, 52, 56, 64, 108, 124}),
    Signature(b"II*\0", ("image/tiff",), _tiff),
    Signature(b"MM\0*", ("image/tiff",), _tiff),
    Signature(b"II+\0\x08\0\0\0", ("image/tiff",)),
    Signature(b"MM\0+\0\x08\0\0", ("image/tiff",)),
    Signature(b"\0\0\1\0", ("image/vnd.microsoft.icon",), _icon),
    Signature(b"\0\0\2\0", ("image/vnd.microsoft.icon",), _icon),
    Signature(b"icns", ("image/icns",), lambda head: _u32(head, 4, ">") >= 16),
    Signature(b"8BPS\0\1", ("image/vnd.adobe.photoshop",)),
    Signature(b"8BPS\0\2", ("image/vnd.adobe.photoshop",)),
    Signature(b"\0\0\0\x0cjP  \r\n\x87\n", ("image/jp2", "image/jpx", "image/jpm", "video/mj2"), tell=_tell_jp2),
    Signature(b"\xff\x4f\xff\x51\0", ("image/x-jp2-codestream",)),
    Signature(b"\0\0\0\x0cJXL \r\n\x87\n", ("image/jxl",)),
    Signature(b"\xff\x0a", ("application/octet-stream", "image/jxl"), _at_least(12)),
    Signature(b"\x0a", ("image/vnd.zbrush.pcx",), _pcx),
    Signature(b"\x01\xda", ("image/x-rgb",), _sgi),
    Signature(b"\x59\xa6\x6a\x95", ("image/x-cmu-raster",), _at_least(32)),
    Signature(b"qoif", ("image/qoi",), _has(12, b"\3\0", b"\3\1", b"\4\0", b"\4\1")),
    Signature(b"AT&TFORM", ("image/vnd.djvu",), _has(12, b"DJVU", b"DJVM", b"DJVI", b"THUM")),
    Signature(b"\1\0\0\0", ("image/emf",), _has(40, b" EMF")),
    Signature(b"\xd7\xcd\xc6\x9a\0\0", ("image/wmf",)),
    Signature(b"AC10", ("image/vnd.dwg",), lambda head: head[4:6].isdigit() and head[6:7] == b"\0"),
    Signature(b"\x76\x2f\x31\x01\2", ("image/x-exr",)),
    *(Signature(b"P%c" % each, ("image/x-portable-anymap",), _portable, tell=_tell_portable) for each in b"1234567"),
    # Sound
    Signature(b"ID3", sound.TAGGED_TYPES, _has(3, b"\2", b"\3", b"\4"), read=sound.read_tagged),
    Signature(b"fLaC", ("audio/flac",), _has(4, b"\0\0\0\x22", b"\x80\0\0\x22")),
    Signature(b"\xff", ("audio/mpeg", "audio/aac"), _frames, tell=sound.tell_frames),
    Signature(b"\x0b\x77", ("audio/ac3", "audio/eac3"), _ac3, tell=sound.tell_ac3),
    *(Signature(each, ("audio/wav",), _has(8, b"WAVE")) for each in (b"RIFF", b"RF64", b"BW64")),
    Signature(b"FORM", ("audio/aiff",), _has(8, b"AIFF", b"AIFC")),
    Signature(b"OggS\0", containers.OGG_TYPES, tell=containers.tell_ogg),
    Signature(b"MThd\0\0\0\6", ("audio/midi",)),
    Signature(b"RIFF", ("audio/midi",), _has(8, b"RMID")),
    Signature(b"#!AMR\n", ("audio/amr",)),
    Signature(b"#!AMR-WB\n", ("audio/amr-wb",)),
    Signature(b"caff\0\1\0\0", ("audio/x-caf",)),
    Signature(b".snd", ("audio/basic",), _sun_audio),
    Signature(b".ra\xfd\0", ("audio/vnd.rn-realaudio",)),
    Signature(b"MAC ", ("audio/x-ape",), lambda head: 3000 < _u16(head, 4) < 5000),
    Signature(b"wvpk", ("audio/x-wavpack",), _has(9, b"\4")),
    # Video
    Signature(b"\x1a\x45\xdf\xa3", ("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"),
              lambda head: len(containers.matroska_types(head)) > 1,
              tell=_tell_matroska,
              read=containers.read_matroska),
    Signature(b"RIFF", ("video/x-msvideo",), _has(8, b"AVI ")),
    Signature(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), containers.ASF_TYPES, tell=containers.tell_asf),
    Signature(b"FLV\1", ("video/x-flv",), _flash_video),
    Signature(b"\0\0\1\xba", ("video/mpeg",), lambda head: head[4:5] >= b"\x20"),
    Signature(b"\0\0\1\xb3", ("video/mpeg",), lambda head: _u16(head, 4, ">") >= 16),
    Signature(b"G", ("video/mp2t",), lambda head: sound.is_transport_stream(head, 0, 188)),
    Signature(b".RMF\0\0\0", ("application/vnd.rn-realmedia",)),
    Signature(b"MOVI\0", ("video/x-sgi-movie",)),
    # Documents
    Signature(b"%PDF-", ("application/pdf",)),
    Signature(b"%!PS-Adobe-", ("application/postscript",)),
    Signature(b"{\\rtf", ("application/rtf",)),
    Signature(b"\xc5\xd0\xd3\xc6", ("application/postscript",), _at_least(30)),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", containers.COMPOUND_TYPES, _compound, read=containers.read_compound),
    # Archives
    Signature(b"PK\3\4", containers.ZIP_TYPES, _local_file, tell=containers.guess_zip, read=containers.read_zip),
    Signature(b"PK\5\6", ("application/zip",), _at_least(22)),
    Signature(b"PK\7\x08PK\3\4", ("application/zip",)),
    Signature(b"\x1f\x8b\x08", ("application/gzip", "image/svg+xml-compressed"),
              lambda head: len(head) >= 10 and head[3] < 32, tell=_tell_svgz),
    Signature(b"BZh", ("application/x-bzip2",), _bzip2),
    Signature(b"\xfd7zXZ\0", ("application/x-xz",)),
    Signature(b"7z\xbc\xaf\x27\x1c", ("application/x-7z-compressed",)),
    Signature(b"Rar!\x1a\7\0", ("application/vnd.rar",)),
    Signature(b"Rar!\x1a\7\1\0", ("application/vnd.rar",)),
    Signature(b"\x28\xb5\x2f\xfd", ("application/zstd",)),
    Signature(b"\x04\x22\x4d\x18", ("application/x-lz4",)),
    Signature(b"\x1f\x9d", ("application/x-compress",), lambda head: len(head) > 3 and 9 <= head[2] & 31 <= 16),
    Signature(b"MSCF\0\0\0\0", ("application/vnd.ms-cab-compressed",)),
    Signature(b"!<arch>\ndebian-binary", ("application/x-deb",)),
    Signature(b"!<arch>\n", ("application/x-archive",)),
    Signature(b"\xed\xab\xee\xdb", ("application/x-rpm",), _has(4, b"\3", b"\4")),
    Signature(b"Cr24", ("application/x-chrome-extension",), _has(4, b"\2\0\0\0", b"\3\0\0\0")),
    # Fonts
    Signature(b"OTTO\0", ("font/otf",), _font),
    Signature(b"\0\1\0\0", ("font/ttf",), _font),
    Signature(b"true\0", ("font/ttf",), _font),
    Signature(b"ttcf\0", ("font/collection",), _has(5, b"\1\0\0", b"\2\0\0")),
    Signature(b"wOFF", ("font/woff",), _web_font),
    Signature(b"wOF2", ("font/woff2",), _web_font),
    # Data
    Signature(b"SQLite format 3\0", ("application/vnd.sqlite3",)),
    Signature(b"PAR1", ("application/vnd.apache.parquet",), _at_least(12), read=_read_parquet),
    Signature(b"ARROW1\0\0", ("application/vnd.apache.arrow.file",)),
    Signature(b"Obj\1", ("application/vnd.apache.avro",)),
    Signature(b"\x89HDF\r\n\x1a\n", ("application/x-hdf5", "application/x-netcdf")),
    Signature(b"CDF\1", ("application/x-netcdf",)),
    Signature(b"CDF\2", ("application/x-netcdf",)),
    Signature(b"glTF", ("model/gltf-binary",), _has(4, b"\1\0\0\0", b"\2\0\0\0")),
    Signature(b"\xd4\xc3\xb2\xa1\2\0\4\0", ("application/vnd.tcpdump.pcap",)),
    Signature(b"\xa1\xb2\xc3\xd4\0\2\0\4", ("application/vnd.tcpdump.pcap",)),
    # Programs
    Signature(b"MZ", _PROGRAM, _at_least(28)),
    Signature(b"\x7fELF", ("application/x-elf",), _has(4, b"\1", b"\2")),
    Signature(b"\0asm\1\0\0\0", ("application/wasm",)),
    Signature(b"\xca\xfe\xba\xbe", ("application/java-vm",), _java_class),
    *(Signature(each, ("application/x-mach-binary",)) for each in (
        b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce", b"\xca\xfe\xba\xbe\0\0\0")),
    Signature(bytes.fromhex("4c0000000114020000000000c000000000000046"), ("application/x-ms-shortcut",)),
    *(Signature(each, ("application/vnd.adobe.flash.movie",), lambda head: len(head) > 8 and 0 < head[3] < 64)
      for each in (b"FWS", b"CWS", b"ZWS")),
)  # fmt: skip


def _iso_media(head: bytes) -> bool:
    return head[0] == 0 and _u32(head, 0, ">") >= 16


def _atoms(head: bytes) -> bool:
    # Eight bytes are not enough: the movie header must be found further on.
    return _u32(head, 0, ">") in {0, 1} or _u32(head, 0, ">") >= 8


_AT_FOUR = {
    b"ftyp": Signature(
        b"ftyp",
        _MOVIES,
        _iso_media,
        tell=_tell_brand,
        read=containers.read_iso_media,
    ),
    **dict.fromkeys(
        (b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"),
        Signature(b"", ("video/quicktime",), _atoms, read=containers.read_iso_media, printable=True),
    ),
    b"\0\0\0\7": Signature(b"", ("image/x-xwindowdump",), _window_dump),
}
_BLU_RAY = Signature(b"G", ("video/mp2t",), lambda head: sound.is_transport_stream(head, 4, 192))
_EMBEDDED_FONTS = (b"\0\0\1\0", b"\1\0\2\0", b"\2\0\2\0")
_FURTHER_ON = (
    (4, _AT_FOUR),
    (128, {b"DICM": Signature(b"DICM", ("application/dicom",))}),
    (257, {b"usta": Signature(b"ustar", ("application/x-tar",), _has(257, b"ustar\0", b"ustar "))}),
    (60, {b"BOOK": Signature(b"BOOK", ("application/x-mobipocket-ebook",), _has(60, b"BOOKMOBI"))}),
    (34, {b"LP\0\0": Signature(b"LP", ("application/vnd.ms-fontobject",), _has(8, *_EMBEDDED_FONTS))}),
)  # fmt: skip

# Types that may begin with any byte; they are tried only if the name claims them.
BY_NAME: dict[str, Signature] = {
    "image/x-tga": Signature(b"", ("image/x-tga",), _tga, read=_read_tga),
    "video/mp2t": _BLU_RAY,
}
_PRINTABLE = frozenset((*range(7, 14), 27, *range(32, 127)))


def _by_first_byte() -> tuple[tuple[Signature, ...], ...]:
    table: list[list[Signature]] = [[] for _ in range(256)]
    for row in sorted(_ROWS, key=lambda each: -len(each.magic)):
        table[row.magic[0]].append(replace(row, printable=_PRINTABLE.issuperset(row.magic)))
    return tuple(map(tuple, table))


_BY_FIRST_BYTE = _by_first_byte()
