"""Detects sound and streams that have no magic number, only a frame every few hundred bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.core.rule import Wanted
from litestar_filestore.validation.media_types import UNKNOWN, Claims

if TYPE_CHECKING:
    from litestar_filestore.core.rule import Reading

__all__ = ("TAGGED_TYPES", "is_transport_stream", "read_tagged", "tell_ac3", "tell_frames")

TAGGED_TYPES = ("audio/mpeg", "audio/aac", "audio/flac", "audio/aiff", "audio/wav", "audio/x-ape")
_MOST_TAGS = 4
_JUNK_BYTES = 8192

# ISO 11172-3 and 13818-3: kilobits per second by index, for layers II and III of MPEG-1 and of MPEG-2 and 2.5.
_RATES = {
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLES = (44100, 48000, 32000)


def tell_frames(head: bytes, claims: Claims) -> str:
    """Return the type of MPEG audio or AAC frames at the very start; a single frame proves nothing."""
    del claims
    return _frame_type(head, 0, alone=False)


def _frame_type(data: bytes, at: int, *, alone: bool) -> str:
    """Return the type of the frame at an offset if another one follows, or if it may be alone at the end."""
    length, type_ = _frame(data, at)
    if not length:
        return UNKNOWN
    if at + length + 4 > len(data):
        return type_ if alone else UNKNOWN
    following, same = _frame(data, at + length)
    return type_ if following and same == type_ else UNKNOWN


def _frame(data: bytes, at: int) -> tuple[int, str]:
    """Return the length in bytes and the type of a frame; the length is 0 if there is none."""
    if len(data) < at + 6 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0, UNKNOWN
    second, third = data[at + 1], data[at + 2]
    version, layer = second >> 3 & 3, second >> 1 & 3
    if layer == 0:
        return _adts(data, at), "audio/aac"
    rate, sampling = third >> 4, third >> 2 & 3
    if version == 1 or layer == 3 or rate in {0, 15} or sampling == 3:
        return 0, UNKNOWN
    kilobits = _RATES[(3, layer) if version == 3 else (2, 2)][rate]
    hertz = _SAMPLES[sampling] >> {3: 0, 2: 1, 0: 2}[version]
    slots = 72 if layer == 1 and version != 3 else 144
    return slots * kilobits * 1000 // hertz + (third >> 1 & 1), "audio/mpeg"


def _adts(data: bytes, at: int) -> int:
    # ISO 13818-7 §6.2: sync word of 12 bits, layer 0, one of 13 rates, 13 bits of length
    if data[at + 1] & 0xF6 != 0xF0 or data[at + 2] >> 2 & 15 > 12:
        return 0
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return length if length >= 7 else 0


def read_tagged(head: bytes, claims: Claims) -> Reading[str]:
    """Look at what follows the ID3 tags (id3v2.4.0-structure §3.1): not every file that has them is an MP3."""
    at = 0
    piece = yield Wanted(0, _JUNK_BYTES)
    for _ in range(_MOST_TAGS):
        tag = piece.data[at - piece.offset :]
        if not tag.startswith(b"ID3") or len(tag) < 10 or max(tag[6:10]) > 127:
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        at += 10 + size + (10 if tag[5] & 16 else 0)
        piece = yield Wanted(at, _JUNK_BYTES)
    return _behind_tags(piece.data, claims)


def _behind_tags(data: bytes, claims: Claims) -> str:
    for mark, type_ in ((b"fLaC", "audio/flac"), (b"MAC ", "audio/x-ape")):
        if data.startswith(mark):
            return type_
    if data[8:12] in {b"AIFF", b"AIFC"} or data[8:12] == b"WAVE":
        return "audio/wav" if data[8:12] == b"WAVE" else "audio/aiff"
    at = data.find(b"\xff")
    while at >= 0:  # writers leave padding after tags that became smaller
        if (found := _frame_type(data, at, alone=True)) != UNKNOWN:
            return found
        at = data.find(b"\xff", at + 1)
    return UNKNOWN


def tell_ac3(head: bytes, claims: Claims) -> str:
    """Return the type of AC-3 or E-AC-3 frames (ETSI TS 102 366 §4.4 and annex E)."""
    del claims
    if len(head) < 6:
        return UNKNOWN
    stream = head[5] >> 3
    length = _ac3_length(head[4]) if stream <= 10 else 2 * ((head[2] & 7) << 8 | head[3]) + 2
    if stream > 16 or length < 64 or (len(head) >= length + 2 and not head.startswith(b"\x0b\x77", length)):
        return UNKNOWN
    return "audio/ac3" if stream <= 10 else "audio/eac3"


_AC3_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def _ac3_length(code: int) -> int:
    sampling, size = code >> 6, code & 63
    if sampling == 3 or size >> 1 >= len(_AC3_RATES):
        return 0
    rate = _AC3_RATES[size >> 1]
    return 2 * (2 * rate, rate * 96_000 // 44_100 + (size & 1), 3 * rate)[sampling]


def is_transport_stream(head: bytes, start: int, packet_bytes: int) -> bool:
    """Return whether a packet begins every `packet_bytes` (ISO 13818-1 §2.4.3.2), as far as `head` shows."""
    syncs = head[start : start + 8 * packet_bytes : packet_bytes]
    return len(syncs) >= 3 and syncs.count(b"G") == len(syncs)
