"""Sound and video."""

from __future__ import annotations

import struct

from tests.validation.samples.images import box, isobmff
from tests.validation.samples.sample import Sample

__all__ = ("MEDIA", "film", "id3", "matroska", "movie", "mp3", "track")

MPEG1, MPEG1_CRC, MPEG2, MPEG25, LAYER2 = (
    b"\xff\xfb\x90\0",
    b"\xff\xfa\x90\0",
    b"\xff\xf3\x80\0",
    b"\xff\xe3\x80\0",
    b"\xff\xfd\x80\0",
)
_FRAME_BYTES = {MPEG1: 417, MPEG1_CRC: 417, MPEG2: 208, MPEG25: 417, LAYER2: 417}


def track(kind: bytes) -> bytes:
    """A track of a film: ``vide`` or ``soun``."""
    handler = box(b"hdlr", bytes(8) + kind + bytes(13))
    return box(b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", box(b"mdhd", bytes(24)) + handler + box(b"minf")))


def film(*kinds: bytes) -> bytes:
    """The header of a film with these tracks."""
    return box(b"moov", box(b"mvhd", bytes(100)) + b"".join(map(track, kinds)))


def movie(brand: bytes, *kinds: bytes, before: int = 0) -> bytes:
    """A film, with its header behind so many bytes of content."""
    return box(b"ftyp", brand + bytes(4) + brand + b"isom") + box(b"mdat", bytes(before)) + film(*kinds)


def mp3(header: bytes = MPEG1, frames: int = 3) -> bytes:
    """Frames of silence."""
    return (header + bytes(_FRAME_BYTES[header] - 4)) * frames


def adts(frames: int = 3) -> bytes:
    """Frames of AAC."""
    return (b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(25)) * frames


def id3(content: bytes, size: int = 10) -> bytes:
    """Content behind a tag of so many bytes."""
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + length + bytes(size) + content


def element(name: str, content: bytes) -> bytes:
    """An element of EBML."""
    return bytes.fromhex(name) + (0x10000000 | len(content)).to_bytes(4, "big") + content


def matroska(kind: bytes, *tracks: int, before: int = 0) -> bytes:
    """A file of Matroska's family: 1 is video, 2 is sound; tracks stand behind so much of nothing."""
    head = element("1a45dfa3", element("4286", b"\1") + element("4282", kind))
    entries = b"".join(element("ae", element("d7", b"\1") + element("83", bytes([each]))) for each in tracks)
    return head + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + element("ec", bytes(before)) + element("1654ae6b", entries)


def ogg(*packets: bytes) -> bytes:
    """The first pages of streams that begin with these packets."""
    return b"".join(b"OggS\0\2" + bytes(20) + b"\1" + bytes([len(each)]) + each for each in packets)


def asf(kind: str) -> bytes:
    """The header of Windows Media with one stream."""
    stream = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365") + struct.pack("<Q", 78) + bytes.fromhex(kind) + bytes(38)
    start = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
    return start + struct.pack("<QIBB", 30 + len(stream), 1, 1, 2) + stream


def transport(packets: int = 10, prefix: bytes = b"") -> bytes:
    """Packets of a transport stream."""
    return (prefix + b"G\x1f\xff\x10" + b"\xff" * 184) * packets


def riff(kind: bytes, mark: bytes = b"RIFF") -> bytes:
    """A file of Windows' family."""
    return mark + struct.pack("<I", 36) + kind + b"fmt " + bytes(24)


_OPUS, _VORBIS, _THEORA = b"OpusHead\1\1" + bytes(9), b"\1vorbis" + bytes(23), b"\x80theora\3\2\1" + bytes(30)
_SOUND, _PICTURES = "409e69f84d5bcf11a8fd00805f5c442b", "c0ef19bc4d5bcf11a8fd00805f5c442b"
_MVHD = film(b"vide")

MEDIA = (
    # Sound
    Sample("a.mp3", id3(mp3(frames=1)), "audio/mpeg"),
    Sample("bare.mp3", mp3(), "audio/mpeg"),
    Sample("crc.mp3", mp3(MPEG1_CRC), "audio/mpeg"),
    Sample("mpeg2.mp3", mp3(MPEG2), "audio/mpeg"),
    Sample("mpeg25.mp3", mp3(MPEG25), "audio/mpeg"),
    Sample("a.mp2", mp3(LAYER2), "audio/mpeg"),
    Sample("padded.mp3", id3(bytes(2000) + mp3()), "audio/mpeg"),
    Sample("a.aac", adts(), "audio/aac"),
    Sample("tagged.aac", id3(adts()), "audio/aac"),
    Sample("a.flac", b"fLaC\0\0\0\x22" + bytes(34), "audio/flac"),
    Sample("tagged.flac", id3(b"fLaC\0\0\0\x22" + bytes(34)), "audio/flac"),
    Sample("a.wav", riff(b"WAVE"), "audio/wav"),
    Sample("long.wav", riff(b"WAVE", b"RF64"), "audio/wav"),
    Sample("a.aiff", b"FORM\0\0\0\x20AIFF" + bytes(24), "audio/aiff"),
    Sample("a.aif", b"FORM\0\0\0\x20AIFC" + bytes(24), "audio/aiff"),
    Sample("a.ac3", (b"\x0b\x77\0\0\0\x40" + bytes(122)) * 2, "audio/ac3"),
    Sample("a.amr", b"#!AMR\n\x3c" + bytes(31), "audio/amr"),
    Sample("a.caf", b"caff\0\1\0\0desc" + bytes(40), "audio/x-caf"),
    Sample("a.au", b".snd" + struct.pack(">IIIII", 24, 8, 1, 8000, 1) + bytes(8), "audio/basic"),
    Sample("a.ra", b".ra\xfd\0\4" + bytes(60), "audio/vnd.rn-realaudio"),
    Sample("a.mid", b"MThd\0\0\0\6\0\1\0\1\0\x60", "audio/midi"),
    Sample("a.wma", asf(_SOUND), "audio/x-ms-wma"),
    Sample("a.ogg", ogg(_VORBIS), "audio/ogg"),
    Sample("a.opus", ogg(_OPUS), "audio/ogg"),
    Sample("a.m4a", movie(b"M4A ", b"soun"), "audio/mp4"),
    Sample("book.m4b", movie(b"M4B ", b"soun"), "audio/mp4"),
    Sample("recorder.m4a", movie(b"mp42", b"soun"), "audio/mp4"),
    Sample("short.m4a", isobmff(b"M4A "), "audio/mp4"),
    Sample("voice.webm", matroska(b"webm", 2), "audio/webm"),
    Sample("voice.weba", matroska(b"webm", 2, before=3000), "audio/webm"),
    Sample("a.mka", matroska(b"matroska", 2), "audio/x-matroska"),
    Sample("voice.3gp", movie(b"3gp5", b"soun"), "audio/3gpp"),
    # Video
    Sample("a.mp4", movie(b"isom", b"soun", b"vide"), "video/mp4"),
    Sample("short.mp4", isobmff(b"isom"), "video/mp4"),
    Sample("a.m4v", movie(b"M4V ", b"vide"), "video/mp4"),
    Sample("phone.3gp", movie(b"3gp4", b"vide", b"soun"), "video/3gpp"),
    Sample("phone.3g2", movie(b"3g2a", b"vide"), "video/3gpp2"),
    Sample("a.mov", movie(b"qt  ", b"vide"), "video/quicktime"),
    Sample("moov.mov", _MVHD + box(b"mdat", bytes(50)), "video/quicktime"),
    Sample("mdat.mov", box(b"mdat", bytes(50)) + _MVHD, "video/quicktime"),
    *(
        Sample(f"{each.decode()}.mov", box(each) + _MVHD, "video/quicktime")
        for each in (b"wide", b"skip", b"free", b"pnot")
    ),
    Sample("a.webm", matroska(b"webm", 2, 1), "video/webm"),
    Sample("a.mkv", matroska(b"matroska", 1, 2), "video/x-matroska"),
    Sample("a.ogv", ogg(_THEORA, _VORBIS), "video/ogg"),
    Sample("a.avi", riff(b"AVI "), "video/x-msvideo"),
    Sample("a.wmv", asf(_PICTURES), "video/x-ms-wmv"),
    Sample("a.flv", b"FLV\1\5\0\0\0\x09" + bytes(30), "video/x-flv"),
    Sample("a.mpg", b"\0\0\1\xba\x44\0\4\0" + bytes(30), "video/mpeg"),
    Sample("a.ts", transport(), "video/mp2t"),
    Sample("camera.mts", transport(prefix=b"\0\1\2\3"), "video/mp2t", named=True),
    Sample("a.movie", b"MOVI\0\1" + bytes(30), "video/x-sgi-movie"),
)
