"""Documents of office programs and for printing."""

from __future__ import annotations

import io
import struct
import zipfile

from tests.validation.samples.archives import zipped
from tests.validation.samples.sample import Sample

__all__ = ("DOCUMENTS", "OPEN_XML", "compound", "content_types", "open_xml")

OPEN_XML = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_WORD, _EXCEL, _POWERPOINT = "wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation"


def content_types(main: str, *others: str) -> str:
    """The member of an office archive that says what its parts are."""
    parts = "".join(f'<Override PartName="/part{n}" ContentType="{each}"/>' for n, each in enumerate((main, *others)))
    return (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        f'<Default Extension="xml" ContentType="application/xml"/>{parts}</Types>'
    )


def open_xml(types: str, *, folder: str = "word", before: bytes = b"", after: bytes = b"") -> bytes:
    """An office archive; other members stand before and after the one that says what it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("_rels/.rels", "<Relationships/>")
        if before:
            archive.writestr(f"{folder}/before.bin", before)
        archive.writestr("[Content_Types].xml", types, zipfile.ZIP_DEFLATED)
        archive.writestr(f"{folder}/main.xml", "<main/>")
        if after:
            archive.writestr(f"{folder}/after.bin", after)
    return buffer.getvalue()


def _office(name: str, main: str, type_: str, folder: str = "word") -> Sample:
    return Sample(name, open_xml(content_types(main), folder=folder), type_)


def compound(*streams: str, class_id: bytes = bytes(16), before: int = 0) -> bytes:
    """A compound file with these streams at its root; the directory lies behind so many sectors."""
    names = ("Root Entry", *streams)
    entries = b""
    for number, name in enumerate(names):
        text = name.encode("utf-16-le") + b"\0\0"
        following = number + 1 if 0 < number < len(streams) else 0xFFFFFFFF
        child = 1 if number == 0 and streams else 0xFFFFFFFF
        kind = 5 if number == 0 else 2
        entries += text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, following, child)
        entries += (class_id if number == 0 else bytes(16)) + bytes(32)
    sectors = -(-len(entries) // 512)
    tables = -(-(before + sectors + 1) // 127)  # each one takes a sector, too
    first = tables + before
    chain = [*range(first + 1, first + sectors), 0xFFFFFFFE]
    table = [*[0xFFFFFFFD] * tables, *[0xFFFFFFFF] * before, *chain]
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, tables, first, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += b"".join(struct.pack("<I", each) for each in range(tables))
    numbers = b"".join(struct.pack("<I", each) for each in table).ljust(512 * tables, b"\xff")
    return head.ljust(512, b"\xff") + numbers + bytes(512 * before) + entries.ljust(512 * sectors, b"\0")


PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"
_ODS = _OPEN_DOCUMENT + "spreadsheet"
_MANIFEST = f'<manifest:manifest><manifest:file-entry manifest:full-path="/" manifest:media-type="{_ODS}"/>'
_MSI = bytes.fromhex("84100c0000000000c000000000000046")
_ENCRYPTED = compound("\6DataSpaces", "EncryptionInfo", "EncryptedPackage")

DOCUMENTS = (
    Sample("a.pdf", PDF, "application/pdf"),
    Sample("ascii.pdf", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n", "application/pdf"),
    Sample("bom.pdf", b"\xef\xbb\xbf" + PDF, "application/pdf", named=True),
    Sample("newline.pdf", b"\r\n" + PDF, "application/pdf", named=True),
    Sample("junk.pdf", b"\xaa" * 200 + PDF + b"stream\n\1\2", "application/pdf"),
    Sample("pjl.pdf", b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n" + PDF, "application/pdf", named=True),
    Sample("drawing.ai", PDF, "application/pdf"),
    Sample("a.ps", b"%!PS-Adobe-3.0\n%%Pages: 1\n", "application/postscript"),
    Sample("a.rtf", b"{\\rtf1\\ansi hello}", "application/rtf"),
    Sample("a.doc", compound("1Table", "WordDocument"), "application/msword"),
    Sample("a.xls", compound("Workbook"), "application/vnd.ms-excel"),
    Sample("a.ppt", compound("Current User", "PowerPoint Document"), "application/vnd.ms-powerpoint"),
    Sample("a.msg", compound("__nameid_version1.0", "__properties_version1.0"), "application/vnd.ms-outlook"),
    Sample("a.vsd", compound("VisioDocument"), "application/vnd.visio"),
    Sample("a.msi", compound("\u4840\u3f3f", class_id=_MSI), "application/x-msi"),
    Sample("encrypted.docx", _ENCRYPTED, OPEN_XML + _WORD, named=True),
    Sample("encrypted.xlsx", _ENCRYPTED, OPEN_XML + _EXCEL, named=True),
    _office("a.docx", f"{OPEN_XML}{_WORD}.main+xml", OPEN_XML + _WORD),
    _office("a.xlsx", f"{OPEN_XML}{_EXCEL}.main+xml", OPEN_XML + _EXCEL, "xl"),
    _office("a.pptx", f"{OPEN_XML}{_POWERPOINT}.main+xml", OPEN_XML + _POWERPOINT, "ppt"),
    _office("a.dotx", f"{OPEN_XML}wordprocessingml.template.main+xml", f"{OPEN_XML}wordprocessingml.template"),
    _office(
        "a.docm",
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.ms-word.document.macroenabled.12",
    ),
    _office(
        "a.dotm",
        "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
        "application/vnd.ms-word.template.macroenabled.12",
    ),
    _office(
        "a.xlsm",
        "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
        "application/vnd.ms-excel.sheet.macroenabled.12",
        "xl",
    ),
    _office(
        "a.xltm",
        "application/vnd.ms-excel.template.macroEnabled.main+xml",
        "application/vnd.ms-excel.template.macroenabled.12",
        "xl",
    ),
    _office(
        "a.xlsb",
        "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
        "application/vnd.ms-excel.sheet.binary.macroenabled.12",
        "xl",
    ),
    _office(
        "a.pptm",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
        "ppt",
    ),
    *(
        Sample(f"a{ext}", zipped("content.xml", stored=("mimetype", _OPEN_DOCUMENT + kind)), _OPEN_DOCUMENT + kind)
        for ext, kind in ((".odt", "text"), (".ods", "spreadsheet"), (".odp", "presentation"), (".odg", "graphics"))
    ),
    Sample("late.ods", zipped("content.xml", members={"mimetype": _ODS.encode()}), _ODS),
    Sample("manifest.ods", zipped("content.xml", members={"META-INF/manifest.xml": _MANIFEST.encode()}), _ODS),
    Sample("a.epub", zipped("x", stored=("mimetype", "application/epub+zip")), "application/epub+zip"),
)
