"""Archives, fonts, data and programs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

from tests.validation.samples.images import SVG
from tests.validation.samples.sample import Sample

__all__ = ("ARCHIVES", "zipped")


def zipped(*names: str, stored: tuple[str, str] | None = None, members: dict[str, bytes] | None = None) -> bytes:
    """An archive with members of these names, `stored` first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if stored is not None:
            archive.writestr(zipfile.ZipInfo(stored[0]), stored[1])
        for name in names:
            archive.writestr(name, "x")
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def _font(mark: bytes) -> bytes:
    return mark + b"\0\x09\0\x80\0\3\0\x10CFF " + bytes(64)


_GZIP = gzip.compress(b"hello", mtime=0)

ARCHIVES = (
    Sample("a.zip", zipped("a.txt"), "application/zip"),
    Sample("empty.zip", zipped(), "application/zip"),
    Sample("a.jar", zipped("com/x/A.class", "META-INF/MANIFEST.MF"), "application/java-archive"),
    Sample(
        "a.apk",
        zipped("AndroidManifest.xml", "classes.dex", "META-INF/MANIFEST.MF"),
        "application/vnd.android.package-archive",
    ),
    Sample("a.kmz", zipped("doc.kml"), "application/vnd.google-earth.kmz", named=True),
    Sample("a.gz", _GZIP, "application/gzip"),
    Sample("a.tar.gz", _GZIP, "application/gzip"),
    Sample("a.svgz", gzip.compress(SVG.encode(), mtime=0), "image/svg+xml-compressed", named=True),
    Sample("a.bz2", bz2.compress(b"hello"), "application/x-bzip2"),
    Sample("a.xz", lzma.compress(b"hello"), "application/x-xz"),
    Sample("a.tar", _tar(), "application/x-tar"),
    Sample("a.7z", b"7z\xbc\xaf'\x1c\0\4" + bytes(40), "application/x-7z-compressed"),
    Sample("a.rar", b"Rar!\x1a\x07\x01\0" + bytes(30), "application/vnd.rar"),
    Sample("a.zst", bytes.fromhex("28b52ffd") + bytes(20), "application/zstd"),
    Sample("a.deb", b"!<arch>\ndebian-binary   " + bytes(40), "application/x-deb"),
    Sample("a.otf", _font(b"OTTO"), "font/otf"),
    Sample("a.ttf", _font(b"\0\1\0\0").replace(b"CFF ", b"cmap"), "font/ttf"),
    Sample("a.ttc", b"ttcf\0\2\0\0" + bytes(40), "font/collection"),
    Sample("a.woff", b"wOFFOTTO" + bytes(40), "font/woff"),
    Sample("a.woff2", b"wOF2\0\1\0\0" + bytes(40), "font/woff2"),
    Sample("a.sqlite", b"SQLite format 3\0" + bytes(90), "application/vnd.sqlite3"),
    Sample("a.parquet", b"PAR1\x15\0" + bytes(40) + b"\x20\0\0\0PAR1", "application/vnd.apache.parquet"),
    Sample("a.feather", b"ARROW1\0\0" + bytes(40), "application/vnd.apache.arrow.file"),
    Sample("a.dcm", bytes(128) + b"DICM" + bytes(40), "application/dicom"),
    Sample("a.glb", b"glTF" + struct.pack("<II", 2, 12), "model/gltf-binary"),
    Sample("a.exe", b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(100), "application/x-msdownload"),
    Sample("a.scr", b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(100), "application/x-msdownload"),
    Sample("a.so", b"\x7fELF\2\1\1" + bytes(60), "application/x-elf"),
    Sample("a.lnk", bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(60), "application/x-ms-shortcut"),
    Sample("a.wasm", b"\0asm\1\0\0\0", "application/wasm"),
)
