"""Small files of many types, made here byte by byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

__all__ = ("SAMPLES", "gif", "isobmff", "jpeg", "png", "zipped")


def png(width: int = 3, height: int = 2) -> bytes:
    """A PNG of these dimensions, without pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg(width: int = 3, height: int = 2, *, metadata_bytes: int = 0) -> bytes:
    """A JPEG whose dimensions stand behind so much metadata."""
    start = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
    segments = b""
    while metadata_bytes > 0:
        size = min(metadata_bytes, 65_533)
        segments += b"\xff\xe2" + struct.pack(">H", size + 2) + bytes(size)
        metadata_bytes -= size
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return start + segments + b"\xff\xc0" + frame + b"\xff\xd9"


def gif(width: int = 3, height: int = 2) -> bytes:
    """A GIF without a picture."""
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def isobmff(brand: bytes, *compatible: bytes) -> bytes:
    """The beginning of a file of MPEG-4's family."""
    names = b"".join(compatible) or b"isommp42"
    return struct.pack(">I", 16 + len(names)) + b"ftyp" + brand + bytes(4) + names + struct.pack(">I", 8) + b"mdat"


def zipped(*names: str, stored: tuple[str, str] | None = None) -> bytes:
    """An archive with members of these names, `stored` first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if stored is not None:
            archive.writestr(*stored)
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


_OOXML = "application/vnd.openxmlformats-officedocument"
_WEBP = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\2\0\0\1\0\0"

SAMPLES: dict[str, tuple[bytes, str]] = {
    "a.png": (png(), "image/png"),
    "a.jpg": (jpeg(), "image/jpeg"),
    "a.gif": (gif(), "image/gif"),
    "a.webp": (_WEBP, "image/webp"),
    "a.avif": (isobmff(b"avif", b"avif", b"mif1"), "image/avif"),
    "a.heic": (isobmff(b"heic", b"mif1", b"heic"), "image/heic"),
    "a.bmp": (b"BM" + struct.pack("<IHHIIiiHH", 70, 0, 0, 54, 40, 3, 2, 1, 24) + bytes(30), "image/bmp"),
    "a.tiff": (b"II*\0\x08\0\0\0" + bytes(20), "image/tiff"),
    "a.ico": (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0" + bytes(40), "image/vnd.microsoft.icon"),
    "a.psd": (b"8BPS\0\1" + bytes(40), "image/vnd.adobe.photoshop"),
    "a.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "application/pdf"),
    "ascii.pdf": (b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n", "application/pdf"),
    "a.rtf": (b"{\\rtf1\\ansi hello}", "application/rtf"),
    "a.doc": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "application/msword"),
    "a.docx": (zipped("[Content_Types].xml", "word/document.xml"), f"{_OOXML}.wordprocessingml.document"),
    "late.docx": (zipped("_rels/.rels", "word/document.xml"), f"{_OOXML}.wordprocessingml.document"),
    "a.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), f"{_OOXML}.spreadsheetml.sheet"),
    "a.odt": (
        zipped("content.xml", stored=("mimetype", "application/vnd.oasis.opendocument.text")),
        "application/vnd.oasis.opendocument.text",
    ),
    "a.epub": (zipped("x", stored=("mimetype", "application/epub+zip")), "application/epub+zip"),
    "a.jar": (zipped("META-INF/MANIFEST.MF"), "application/java-archive"),
    "a.zip": (zipped("a.txt"), "application/zip"),
    "a.gz": (gzip.compress(b"hello", mtime=0), "application/gzip"),
    "a.bz2": (bz2.compress(b"hello"), "application/x-bzip2"),
    "a.xz": (lzma.compress(b"hello"), "application/x-xz"),
    "a.tar": (_tar(), "application/x-tar"),
    "a.7z": (b"7z\xbc\xaf'\x1c\0\4" + bytes(40), "application/x-7z-compressed"),
    "a.rar": (b"Rar!\x1a\x07\x01\0" + bytes(30), "application/vnd.rar"),
    "a.zst": (bytes.fromhex("28b52ffd") + bytes(20), "application/zstd"),
    "a.mp4": (isobmff(b"isom"), "video/mp4"),
    "a.m4a": (isobmff(b"M4A "), "audio/mp4"),
    "a.mov": (isobmff(b"qt  ", b"qt  "), "video/quicktime"),
    "a.mkv": (b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x88matroska", "video/x-matroska"),
    "a.webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm", "video/webm"),
    "a.mp3": (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + b"\xff\xfb\x90\0" + bytes(400), "audio/mpeg"),
    "a.ogg": (b"OggS\0\2" + bytes(20) + b"\1\x1e\1vorbis" + bytes(30), "audio/ogg"),
    "a.wav": (b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(20), "audio/wav"),
    "a.flac": (b"fLaC\0\0\0\x22" + bytes(34), "audio/flac"),
    "a.exe": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(100), "application/x-msdownload"),
    "a.wasm": (b"\0asm\1\0\0\0", "application/wasm"),
    "a.woff2": (b"wOF2\0\1\0\0" + bytes(40), "font/woff2"),
    "a.sqlite": (b"SQLite format 3\0" + bytes(90), "application/vnd.sqlite3"),
    "a.txt": (b"hello world\n", "text/plain"),
    "german.txt": ("Grüße\n".encode(), "text/plain"),
    "windows.txt": ("hello".encode("utf-16"), "text/plain"),
    "car.txt": (b"BM is the name of a car", "text/plain"),
    "letter.txt": (b"MZ wrote this letter", "text/plain"),
    "a.log": (b"started\n", "text/plain"),
    "a.csv": (b"a,b\n1,2\n", "text/csv"),
    "a.json": (b'{"a": 1}', "application/json"),
    "a.md": (b"<h1>Title</h1>\n", "text/markdown"),
    "a.py": (b"import os\n", "text/x-python"),
    "a.html": (b"<!DOCTYPE html><title>x</title>", "text/html"),
    "script.txt": (b"  \n<script>alert(1)</script>", "text/html"),
    "a.svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    "bare.txt": (b"<svg onload=alert(1)>", "image/svg+xml"),
    "a.xml": (b'<?xml version="1.0"?><a/>', "application/xml"),
    "a.xhtml": (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml"),
}
"""Content and type by file name."""
