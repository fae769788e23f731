"""What files are, told from their content."""

from __future__ import annotations

import io
import os
import zipfile

import pytest
from hypothesis import given, settings, strategies as st

from litestar_filestore import ContentTypes, Extensions
from litestar_filestore.errors import FileRejectedError, FileTypeNotAllowedError
from litestar_filestore.validation.checking import FileCheck
from litestar_filestore.validation.detect import SignatureDetector, default_detector
from litestar_filestore.validation.media_types import UNKNOWN, extension_of, is_text_type
from tests.effort import effort
from tests.validation.samples import SAMPLES, Sample
from tests.validation.samples.archives import zipped
from tests.validation.samples.documents import OPEN_XML, PDF, compound, content_types, open_xml
from tests.validation.samples.images import box, png, tga
from tests.validation.samples.media import adts, film, id3, matroska, movie, mp3, transport

detect = SignatureDetector().detect
DOCX, XLSX = OPEN_XML + "wordprocessingml.document", OPEN_XML + "spreadsheetml.sheet"
DOCX_MAIN = f"{DOCX}.main+xml"
WITH_MACROS_MAIN = "application/vnd.ms-word.document.macroEnabled.main+xml"
MACROS = "application/vnd.ms-office.vbaProject"


def upload(content: bytes, name: str, *rules: ContentTypes | Extensions, piece: int = 10**9) -> str:
    """Return the type of content that passes the rules in pieces of this size."""
    check = FileCheck(rules, filename=name)
    first = max(piece, check.head_bytes)
    check.judge_head(content[:first], complete=first >= len(content))
    for at in range(first, len(content), piece):
        check.feed(content[at : at + piece])
    check.judge_end(len(content))
    assert check.checked is not None
    return check.checked.content_type


def accepted(content: bytes, name: str, type_: str) -> bool:
    """Return whether a rule for one type lets content pass."""
    try:
        upload(content, name, ContentTypes(type_))
    except FileTypeNotAllowedError:
        return False
    return True


each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=[each.name for each in SAMPLES])


@each_sample
def test_type(sample: Sample) -> None:
    """Content under an honest name has its type."""
    assert detect(sample.content, filename=sample.name) == sample.type


@each_sample
def test_rules_of_its_type(sample: Sample) -> None:
    """An honest file passes rules that name its type or its extension, and no others."""
    assert upload(sample.content, sample.name, ContentTypes(sample.type)) == sample.type
    assert upload(sample.content, sample.name, Extensions(extension_of(sample.name))) == sample.type
    other = "image/png" if sample.type != "image/png" else "image/gif"
    assert not accepted(sample.content, sample.name, other)


@pytest.mark.parametrize(
    "sample", [each for each in SAMPLES if not each.named], ids=[each.name for each in SAMPLES if not each.named]
)
def test_type_does_not_follow_the_name(sample: Sample) -> None:
    """No name makes a type of content that is of another one."""
    names = ("a", "a.png", "a.txt", "a.html", "a.exe", "a.docx", "a.mp3")
    assert {detect(sample.content, filename=name) for name in names} == {sample.type}


@pytest.mark.parametrize(
    "sample",
    [each for each in SAMPLES if not is_text_type(each.type)],
    ids=[each.name for each in SAMPLES if not is_text_type(each.type)],
)
def test_damaged_beginning(sample: Sample) -> None:
    """Content whose first bytes are others is not of the type, whatever its name says."""
    damaged = bytes(each ^ 0x5A for each in sample.content[:1032]) + sample.content[1032:]
    assert not accepted(damaged, sample.name, sample.type)


PURE_TEXTS = [
    each
    for each in SAMPLES
    if is_text_type(each.type) and each.type not in {"application/postscript", "application/rtf"}
]


@pytest.mark.parametrize("sample", PURE_TEXTS, ids=[each.name for each in PURE_TEXTS])
def test_text_with_bytes_of_none(sample: Sample) -> None:
    """Control characters that no text has make no text of any kind."""
    damaged = sample.content + "\x02".encode("utf-16-le" if sample.content[:1] == b"\xff" else "utf-8")
    assert not accepted(damaged, sample.name, sample.type)


@pytest.mark.parametrize(
    ("name", "content", "type_"),
    [
        ("a.docx", open_xml(content_types(DOCX_MAIN))[:-10], DOCX),
        ("a.docx", zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), DOCX),
        ("a.odt", zipped("a", stored=("mimetype", "application/x-other")), "application/vnd.oasis.opendocument.text"),
        ("a.doc", compound("1Table", "WordDocument")[:1024], "application/msword"),
        ("a.mov", box(b"mdat", bytes(50)), "video/quicktime"),
        ("a.mov", box(b"wide") + bytes(range(0xA0, 0xC8)), "video/quicktime"),
        ("a.parquet", b"PAR1\x15\0" + bytes(40), "application/vnd.apache.parquet"),
        ("a.mp3", mp3(frames=1), "audio/mpeg"),
        ("a.mp3", id3(b"")[:-4], "audio/mpeg"),
        ("a.aac", adts(frames=1), "audio/aac"),
        ("a.ts", transport(2), "video/mp2t"),
        ("a.tga", tga(footer=False)[:-1], "image/x-tga"),
        ("a.pdf", b"\xaa" * 2000 + PDF, "application/pdf"),
        ("a.png", png()[:12], "image/png"),
        ("a.jpg", b"\xff\xd8\xff", "image/jpeg"),
        ("a.jpg", b"\xff\xd8\xff<script>alert(1)</script>", "image/jpeg"),
        ("a.gif", b"GIF89a/*....*/=1;<script>alert(1)</script>", "image/gif"),
        ("a.svgz", zipped("a.svg"), "image/svg+xml-compressed"),
    ],
)  # fmt: skip
def test_part_of_a_file(name: str, content: bytes, type_: str) -> None:
    """A magic number alone, or a container without what says what it holds, passes no rule of the type."""
    assert not accepted(content, name, type_)


UNVERIFIED = "jxl rgb ppm ras xwd ief 3gp au snd ra movie tga pcx icns avif heic webp mp3 aac ts mov mkv otf docx xls"


@pytest.mark.parametrize("ext", UNVERIFIED.split())
@pytest.mark.parametrize("content", [b"\0\x01<html><script>" + bytes(range(256)) * 12, b"\x7fELF\2\1\1" + bytes(999)])
def test_random_bytes_have_no_type_by_name(ext: str, content: bytes) -> None:
    """A name alone satisfies no rule: bytes that nothing has verified are of no type."""
    for pattern in ("image/*", "audio/*", "video/*", "font/*"):
        assert not accepted(content, f"a.{ext}", pattern)
    assert detect(content, filename=f"a.{ext}") in {UNKNOWN, "application/x-elf"}


@pytest.mark.parametrize(
    ("name", "content", "type_"),
    [
        ("a.docx", zipped("a.txt"), "application/zip"),
        ("a.docx", zipped("x", stored=("readme.txt", "[Content_Types].xml _rels/.rels word/")), "application/zip"),
        ("a.xlsx", b"a,b\n", "text/plain"),
        ("a.png", b"\x01\x02\x03\x00", UNKNOWN),
        ("a.dat", b"\x01\x02\x03\x00", UNKNOWN),
        ("a.jpg", b"<html>", "text/html"),
        ("a.svg", b"just words", "text/plain"),
        ("a.csv", png(), "image/png"),
        ("a.csv", b"<script>alert(1)</script>", "text/html"),
        ("a.csv", b"\xef\xbb\xbf<script>alert(1)</script>,x", "text/html"),
        ("a.csv", b"<b>x</b>,<script>alert(1)</script>", "text/html"),
        ("a.csv", b"<b>no table", "text/html"),
        ("a.json", b"\xff\xff\xfd\x00", UNKNOWN),
        ("a.json", b"just words", "text/plain"),
        ("a.geojson", b'{"a": 1}', "text/plain"),
        ("a.ics", b"just words", "text/plain"),
        ("a.gpx", b'<?xml version="1.0"?><kml/>', "application/vnd.google-earth.kml+xml"),
        ("a.kml", b'<?xml version="1.0"?><a/>', "application/xml"),
        ("a.txt", b"<?php system($_GET[0]);", "application/x-httpd-php"),
        ("a.txt", b"hello\x1aworld", UNKNOWN),
        ("a.txt", b"hel\0lo", UNKNOWN),
        ("a.txt", bytes(20), UNKNOWN),
        ("shell.php", png(), "image/png"),
        ("clip.weba", matroska(b"webm", 1, 2), "video/webm"),
        ("clip.m4a", movie(b"isom", b"vide"), "video/mp4"),
        ("clip.m4a", movie(b"M4A ", b"vide"), "video/mp4"),
        ("a.doc", compound("Workbook"), "application/vnd.ms-excel"),
        ("a.doc", compound("\u4840", class_id=bytes.fromhex("84100c0000000000c000000000000046")), "application/x-msi"),
        ("a.docx", compound("WordDocument"), "application/msword"),
    ],
)  # fmt: skip
def test_name_that_claims_too_much(name: str, content: bytes, type_: str) -> None:
    """A name is believed only where the content fits it."""
    assert detect(content, filename=name) == type_


@pytest.mark.parametrize(
    "ext", ["hta", "bat", "cmd", "ps1", "vbs", "url", "scr", "js", "wsf", "reg", "com", "pif", "php", "asp", "jsp"]
)
def test_what_runs_is_no_plain_text(ext: str) -> None:
    """Text under a name that Windows or a web server runs satisfies no rule for plain text."""
    assert not accepted(b"echo hello\r\n", f"a.{ext}", "text/plain")


@pytest.mark.parametrize("name", ["shell.php", "a.bat", "a.html", "a.exe"])
def test_image_under_a_name_that_runs(name: str) -> None:
    """An image whose name says that it is a program is refused where a rule goes by the type."""
    assert not accepted(png(), name, "image/*")


def test_macros_where_the_main_part_denies_them() -> None:
    """A document with macros is of the type with macros, also if it says that it has none."""
    content = open_xml(content_types(DOCX_MAIN, MACROS))
    assert detect(content, filename="a.docx") == "application/vnd.ms-word.document.macroenabled.12"


@pytest.mark.parametrize(
    "types",
    [
        content_types(DOCX_MAIN, f"{XLSX}.main+xml"),
        content_types(DOCX_MAIN).replace("<Types", "<!-- x --><Types"),
        content_types("application/vnd.ms-word.document.&#109;acroEnabled.main+xml", DOCX_MAIN),
        "not XML at all",
    ],
)
def test_office_archive_that_can_be_read_in_two_ways(types: str) -> None:
    """An archive whose readers may disagree on what it is, is an archive."""
    assert detect(open_xml(types), filename="a.docx") == "application/zip"


def test_two_members_of_one_name() -> None:
    """Of two members with one name each reader takes another one, so the archive is an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", content_types(DOCX_MAIN))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("[Content_Types].xml", content_types(WITH_MACROS_MAIN))
    assert detect(buffer.getvalue(), filename="a.docx") == "application/zip"


BIG = os.urandom(300_000)
LONG: dict[str, tuple[bytes, str, str]] = {
    "types first": (open_xml(content_types(DOCX_MAIN), after=BIG), "a.docx", DOCX),
    "types last": (open_xml(content_types(DOCX_MAIN), before=BIG), "a.docx", DOCX),
    "types in the middle": (open_xml(content_types(DOCX_MAIN), before=BIG, after=BIG), "a.docx", DOCX),
    "types across two": (open_xml(content_types(DOCX_MAIN), before=BIG[:65_300], after=BIG), "a.docx", DOCX),
    "word": (compound("1Table", "WordDocument", before=900), "a.doc", "application/msword"),
    "sound at the end": (movie(b"isom", b"soun", before=200_000), "a.m4a", "audio/mp4"),
    "film at the end": (movie(b"isom", b"vide", before=200_000), "a.mp4", "video/mp4"),
    "film of Apple": (box(b"mdat", bytes(200_000)) + film(b"vide"), "a.mov", "video/quicktime"),
    "cover": (id3(mp3(), 150_000), "a.mp3", "audio/mpeg"),
    "cover of FLAC": (id3(b"fLaC\0\0\0\x22" + bytes(34), 150_000), "a.flac", "audio/flac"),
    "tracks": (matroska(b"webm", 2, before=100_000), "a.weba", "audio/webm"),
    "old picture": (tga(400, 300, footer=False), "a.tga", "image/x-tga"),
    "columns": (b"PAR1" + BIG + b"PAR1", "a.parquet", "application/vnd.apache.parquet"),
    "log": (b"started\n" * 20_000, "a.log", "text/plain"),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("piece", [997, 65_536, 70_001, 10**9])
def test_what_stands_far_behind_the_beginning(name: str, piece: int) -> None:
    """The type is a function of the file: it does not depend on the pieces in which the file arrives."""
    content, filename, type_ = LONG[name]
    assert upload(content, filename, ContentTypes(type_), piece=piece) == type_


LYING: dict[str, tuple[bytes, str, str]] = {
    "archive": (zipped("a.txt", members={"b.bin": BIG}), "a.docx", DOCX),
    "macros": (open_xml(content_types(WITH_MACROS_MAIN), before=BIG), "a.docx", DOCX),
    "cut": (open_xml(content_types(DOCX_MAIN), after=BIG)[:-200], "a.docx", DOCX),
    "spreadsheet": (compound("Workbook", before=900), "a.doc", "application/msword"),
    "film": (movie(b"isom", b"vide", before=200_000), "a.m4a", "audio/mp4"),
    "no film": (box(b"mdat", bytes(200_000)), "a.mov", "video/quicktime"),
    "sound": (id3(adts(), 150_000), "a.mp3", "audio/mpeg"),
    "video": (matroska(b"webm", 1, before=100_000), "a.weba", "audio/webm"),
    "cut picture": (tga(400, 300, footer=False)[:-1], "a.tga", "image/x-tga"),
    "cut columns": (b"PAR1" + BIG, "a.parquet", "application/vnd.apache.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("piece", [997, 70_001, 10**9])
def test_end_that_belies_the_beginning(name: str, piece: int) -> None:
    """A file that only begins as one of its type is refused, however it arrives."""
    content, filename, type_ = LYING[name]
    with pytest.raises(FileTypeNotAllowedError):
        upload(content, filename, ContentTypes(type_), piece=piece)


def test_type_that_turns_out_at_the_end() -> None:
    """Where no rule goes by the type, the file is called what it has turned out to be."""
    assert upload(*LYING["archive"][:2]) == "application/zip"


def test_functions_see_the_type_that_turns_out_at_the_end() -> None:
    """A function that has accepted the first guess is asked again."""
    content, name, _ = LYING["archive"]
    check = FileCheck([lambda file: "no archives" if file.content_type == "application/zip" else None], filename=name)
    check.judge_head(content, complete=True)
    with pytest.raises(FileRejectedError, match="no archives"):
        check.judge_end(len(content))


@pytest.mark.parametrize(("name", "type_"), [("a.txt", "text/plain"), ("a.csv", "text/csv"), ("a.png", UNKNOWN)])
def test_empty_content(name: str, type_: str) -> None:
    """Nothing can be an empty text, and no image."""
    assert detect(b"", filename=name) == type_


def test_text_that_is_cut_inside_a_character() -> None:
    """The first bytes of a long text may end in the middle of a character."""
    head = ("x" + "é" * 60_000).encode()[: default_detector.head_bytes]
    assert detect(head, filename="a.txt") == "text/plain"


@settings(deadline=None)
@given(content=st.binary(max_size=3000), name=st.sampled_from([each.name for each in SAMPLES]))
def test_any_bytes_have_a_type(content: bytes, name: str) -> None:
    """No content makes an error."""
    assert "/" in upload(content, name)


def test_compound_file_may_be_cut_anywhere() -> None:
    """Nor does an end in the middle of its directory."""
    content = compound("WordDocument")
    found = {detect(content[:end], filename="a.doc") for end in range(512, len(content))}
    assert found <= {"application/msword", "application/x-ole-storage"}


@settings(deadline=None)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 3000),
)
def test_any_damage_has_a_type(sample: Sample, changes: list[tuple[int, int]], cut: int) -> None:
    """No damage to a file makes an error."""
    content = bytearray(sample.content)
    for at, value in changes:
        content[at % max(len(content), 1) : at % max(len(content), 1) + 1] = bytes([value])
    assert "/" in upload(bytes(content[: len(content) - cut % (len(content) + 1)]), sample.name)


def _packed(member: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", member)
    return buffer.getvalue()


SIZE = 128 * 1024
HOSTILE: dict[str, bytes] = {
    **{repr(unit)[:40]: (unit * (SIZE // len(unit) + 1))[:SIZE] for unit in (
        b"<!---->", b"<!a[>", b"<?x?>", b"<svg", b"<", b"<!DOCTYPE a [", b"PK\x03\x04", b"\xff\xd8\xff",
        b"\xff\xe0\0\2", b"\0\0\0\x18ftyp", b"\0\0\0\x08free", b"{", b"[", b"\n\0", b"\0\n", b"\x1a",
        b"G" + bytes(187), b"\xff\xfb\x90",
        b"OggS\0\2", b"ID3\4\0\0\0\0\0\0", b"%PDF", b"From ", b" ", b"\t", b"\r\n", b"-----BEGIN ", b'"', b",", b"\xff",
        b"\x1a\x45\xdf\xa3\x80", b"\xae\x80", b"[Content_Types].xml", b"mimetype",
    )},
    "xml": b"<?xml" + b" " * SIZE,
    "comment": b"<!--" + b"-" * SIZE,
    "moov": box(b"ftyp", b"isom" + bytes(8)) + box(b"moov", box(b"free") * 16_000),
    "directory": zipped(*map(str, range(1500)), members={"[Content_Types].xml": b"x"}),
    "members": b"PK\3\4\x14\0" + (bytes(20) + b"\x13\0\0\0[Content_Types].xmlPK\3\4\x14\0") * 2500,
    "content types": _packed(b'<Types ContentType="' + b"a" * 5_000_000),
    "quotes": _packed(b'ContentType="' * 400_000),
    "nothing": _packed(bytes(50_000_000)),
    "manifest": zipped("x", members={"META-INF/manifest.xml": b"<manifest:file-entry " * 100_000}),
    "compound": compound(*(f"{n}" for n in range(800))),
    "junk": id3(b"\xff\xfb\x90\0\xff" * 20_000),
    "ebml": b"\x1a\x45\xdf\xa3\x80" + b"\x42\x82\x80" * 40_000,
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("ext", [".docx", ".svg", ".mp3", ".svgz", ".ods", ".tga"])
def test_hostile_content_takes_no_time(content: bytes, ext: str) -> None:
    """Content made to keep a parser busy is no more work than some million steps of plain Python."""
    assert effort(lambda: upload(content, f"a{ext}", piece=16_384)) < 200
