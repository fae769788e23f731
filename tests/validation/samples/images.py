"""Images."""

from __future__ import annotations

import struct
import zlib

from tests.validation.samples.sample import Sample

__all__ = ("IMAGES", "avif", "bmp", "box", "gif", "heif", "icon", "isobmff", "jpeg", "png", "tga", "tiff", "webp")


def png(width: int = 3, height: int = 2, *, animated: bool = False) -> bytes:
    """A PNG of these dimensions, without pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    frames = chunk(b"acTL", struct.pack(">II", 2, 0)) if animated else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + frames
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


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


def webp(width: int = 3, height: int = 2) -> bytes:
    """A WebP of the extended kind, without a picture."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas


def bmp(width: int = 3, height: int = 2) -> bytes:
    """A bitmap of Windows."""
    return b"BM" + struct.pack("<IHHIIiiHH", 70, 0, 0, 54, 40, width, height, 1, 24) + bytes(30)


def tiff(width: int = 3, height: int = 2, *, order: str = "<", big: bool = False, pixels: int = 0) -> bytes:
    """A TIFF with its directory behind so many bytes of pixels."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        tags = b"".join(struct.pack(order + "HHQIxxxx", tag, 4, 1, n) for tag, n in ((256, width), (257, height)))
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, 16 + pixels)
        return head + bytes(pixels) + struct.pack(order + "Q", 2) + tags + bytes(8)
    tags = b"".join(struct.pack(order + "HHII", tag, 4, 1, n) for tag, n in ((256, width), (257, height)))
    head = mark + struct.pack(order + "HI", 42, 8 + pixels)
    return head + bytes(pixels) + struct.pack(order + "H", 2) + tags + bytes(4)


def icon(width: int = 3, height: int = 2) -> bytes:
    """An icon with one PNG in it."""
    picture = png(width, height)
    entry = struct.pack("<BBBBHHII", width & 255, height & 255, 0, 0, 1, 32, len(picture), 22)
    return b"\0\0\1\0\1\0" + entry + picture


def box(name: bytes, content: bytes = b"") -> bytes:
    """A box of MPEG-4's family."""
    return struct.pack(">I", 8 + len(content)) + name + content


def isobmff(brand: bytes, *compatible: bytes) -> bytes:
    """The beginning of a file of MPEG-4's family."""
    return box(b"ftyp", brand + bytes(4) + (b"".join(compatible) or b"isommp42")) + box(b"mdat")


def heif(brand: bytes, *compatible: bytes, width: int = 3, height: int = 2, before: bytes = b"") -> bytes:
    """A picture of HEIF's family, with its header behind other boxes."""
    size = box(b"ispe", struct.pack(">III", 0, width, height))
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + box(b"iprp", box(b"ipco", size)))
    return box(b"ftyp", brand + bytes(4) + b"".join(compatible or (brand, b"mif1"))) + before + meta + box(b"mdat")


def avif(width: int = 3, height: int = 2) -> bytes:
    """An AVIF without pixels."""
    return heif(b"avif", width=width, height=height)


def tga(width: int = 3, height: int = 2, *, footer: bool = True) -> bytes:
    """An uncompressed picture of Truevision."""
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, 24, 0)
    return head + b"\x80" * (3 * width * height) + (bytes(8) + b"TRUEVISION-XFILE.\0" if footer else b"")


def pcx(width: int = 3, height: int = 2) -> bytes:
    """A picture of Paintbrush."""
    window = struct.pack("<HHHH", 0, 0, width - 1, height - 1)
    return b"\x0a\5\1\x08" + window + bytes(53) + b"\3" + bytes(62) + b"\xc1\xff" * 20


def jxl(width: int = 8, height: int = 8) -> bytes:
    """A code stream of JPEG XL, small enough for the short form of its header."""
    bits = 1 | (height // 8 - 1) << 1 | 0 << 6 | (width // 8 - 1) << 9
    return b"\xff\x0a" + struct.pack("<I", bits) + bytes(20)


def jp2(width: int = 3, height: int = 2) -> bytes:
    """A JPEG 2000 without its code stream."""
    header = box(b"ihdr", struct.pack(">IIHBBBB", height, width, 3, 7, 7, 0, 0))
    return box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", header)


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")

IMAGES = (
    Sample("a.png", png(), "image/png"),
    Sample("animated.png", png(animated=True), "image/png"),
    Sample("a.apng", png(animated=True), "image/apng", named=True),
    Sample("a.jpg", jpeg(), "image/jpeg"),
    Sample("a.gif", gif(), "image/gif"),
    Sample("a.webp", webp(), "image/webp"),
    Sample("a.avif", avif(), "image/avif"),
    Sample("sequence.avif", heif(b"avis", b"avis", b"msf1"), "image/avif"),
    Sample("mif1.avif", heif(b"mif1", b"mif1", b"avif"), "image/avif"),
    *(Sample(f"{each.decode()}.heic", heif(each), "image/heic") for each in _HEIC_BRANDS),
    Sample("mif1.heic", heif(b"mif1", b"mif1", b"heic"), "image/heic"),
    Sample("msf1.heic", heif(b"msf1", b"msf1", b"hevc"), "image/heic"),
    Sample("a.heif", heif(b"mif1", b"mif1"), "image/heif"),
    Sample("a.bmp", bmp(), "image/bmp"),
    Sample("a.tiff", tiff(), "image/tiff"),
    Sample("motorola.tif", tiff(order=">"), "image/tiff"),
    Sample("big.tif", tiff(big=True), "image/tiff"),
    Sample("big_motorola.tif", tiff(order=">", big=True), "image/tiff"),
    Sample("a.ico", icon(), "image/vnd.microsoft.icon"),
    Sample("a.icns", b"icns" + struct.pack(">I", 40) + b"ic07" + bytes(28), "image/icns"),
    Sample("a.psd", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 2, 3, 8, 3), "image/vnd.adobe.photoshop"),
    Sample("a.jxl", jxl(), "image/jxl", named=True),
    Sample("boxed.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"jxlc", jxl()), "image/jxl"),
    Sample("a.jp2", jp2(), "image/jp2"),
    Sample("a.tga", tga(), "image/x-tga", named=True),
    Sample("old.tga", tga(footer=False), "image/x-tga", named=True),
    Sample("a.pcx", pcx(), "image/vnd.zbrush.pcx"),
    Sample("a.rgb", b"\x01\xda\0\1" + struct.pack(">HHHH", 3, 3, 2, 3) + bytes(500), "image/x-rgb"),
    Sample("a.ras", b"\x59\xa6\x6a\x95" + struct.pack(">IIIIIII", 3, 2, 24, 18, 1, 0, 0), "image/x-cmu-raster"),
    Sample("a.xwd", struct.pack(">IIII", 101, 7, 2, 24) + bytes(90), "image/x-xwindowdump"),
    Sample("a.ppm", b"P6\n# made here\n3 2\n255\n" + bytes(18), "image/x-portable-pixmap"),
    Sample("a.pgm", b"P5 3 2 255\n" + bytes(6), "image/x-portable-graymap"),
    Sample("a.qoi", b"qoif" + struct.pack(">IIBB", 3, 2, 3, 0) + bytes(8), "image/qoi"),
)
