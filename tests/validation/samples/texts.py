"""Texts and mark-up."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.validation.samples.images import SVG
from tests.validation.samples.sample import Sample

__all__ = ("TEXTS",)


def _text(name: str, content: str | bytes, type_: str, *, named: bool = True) -> Sample:
    return Sample(name, content.encode() if isinstance(content, str) else content, type_, named)


_ROWS = "Name;Straße;Betrag\r\nMüller;Königsweg 3;1.234,50\r\n"
_GERMAN = "Grüße aus München\n"
_LATIN = '<?xml version="1.0" encoding="ISO-8859-1"?>'
_DOCTYPE = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
_ENTITIES = '<!DOCTYPE svg [ <!ENTITY ns "http://www.w3.org/2000/svg"> ]>'

TEXTS = (
    _text("a.txt", "hello world\n", "text/plain", named=False),
    _text("german.txt", _GERMAN, "text/plain", named=False),
    _text("windows.txt", "hello".encode("utf-16"), "text/plain", named=False),
    _text("latin1.txt", _GERMAN.encode("latin-1"), "text/plain", named=False),
    _text("macintosh.txt", _GERMAN.encode("mac_roman"), "text/plain", named=False),
    _text("russian.txt", "Привет, мир\r\n".encode("cp1251"), "text/plain", named=False),
    _text("dos.txt", b"hello\r\n\x1a", "text/plain", named=False),
    _text("block.txt", b"hello\r\n\x1a" + bytes(119), "text/plain", named=False),
    _text("page.txt", "page 1\n\x0cpage 2\n", "text/plain", named=False),
    _text("manual.txt", "b\x08bo\x08ol\x08ld\n", "text/plain", named=False),
    _text("colours.log", "\x1b[31merror\x1b[0m\n", "text/plain", named=False),
    _text("crash.log", b"started\n" + bytes(8) + b"restarted\n", "text/plain", named=False),
    _text("car.txt", "BM is the name of a car", "text/plain", named=False),
    _text("letter.txt", "MZ wrote this letter", "text/plain", named=False),
    _text("a.csv", "a,b\n1,2\n", "text/csv"),
    _text("utf8.csv", _ROWS, "text/csv"),
    _text("bom.csv", _ROWS.encode("utf-8-sig"), "text/csv"),
    _text("utf16.csv", _ROWS.encode("utf-16"), "text/csv"),
    _text("cp1252.csv", _ROWS.encode("cp1252"), "text/csv"),
    _text("macintosh.csv", _ROWS.encode("mac_roman"), "text/csv"),
    _text("cp1251.csv", "Имя;Город\r\nИван;Москва\r\n".encode("cp1251"), "text/csv"),
    _text("shift_jis.csv", "名前,住所\r\n山田,東京\r\n".encode("cp932"), "text/csv"),
    _text("gbk.csv", "姓名,地址\r\n王,北京\r\n".encode("gbk"), "text/csv"),
    _text("html.csv", '<b>Name</b>,Link\r\nx,"<a href=""http://a"">a</a>"\r\n', "text/csv"),
    _text("a.tsv", "a\tb\n", "text/tab-separated-values"),
    _text("a.json", '{"a": 1}', "application/json"),
    _text("bom.json", b"\xef\xbb\xbf{}", "application/json"),
    _text("a.geojson", '{"type":"FeatureCollection","features":[]}', "application/geo+json"),
    _text("a.jsonl", '{"a":1}\n{"a":2}\n', "application/x-ndjson"),
    _text("a.ipynb", '{"cells":[],"nbformat":4}', "application/x-ipynb+json"),
    _text("a.yaml", "a: 1\n", "application/yaml"),
    _text("a.toml", "[a]\nb = 1\n", "application/toml"),
    _text("a.md", "<h1>Title</h1>\n", "text/markdown"),
    _text("a.py", "import os\n", "text/x-python"),
    _text("a.js", "let a = 1;\n", "text/javascript"),
    _text("a.css", "p { color: red }\n", "text/css"),
    _text("a.sql", "select 1;\n", "application/sql"),
    _text("a.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n", "text/calendar"),
    _text("a.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nEND:VCARD\r\n", "text/vcard"),
    _text("a.vtt", "WEBVTT\n\n", "text/vtt"),
    _text("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nHi\n", "application/x-subrip"),
    _text("a.eml", "From: a@b\r\nSubject: x\r\n\r\nhi\r\n", "message/rfc822"),
    _text("8bit.eml", "From: a@b\r\nSubject: x\r\n\r\nGrüße\r\n".encode("latin-1"), "message/rfc822"),
    _text("script.ts", "let a: number = 1;\n", "text/x-typescript"),
    # Mark-up, told by its root
    _text("a.html", "<!DOCTYPE html><title>x</title>", "text/html", named=False),
    _text("script.html", "  \n<script>alert(1)</script>", "text/html", named=False),
    _text("saved.html", "<!-- saved -->\n<!DOCTYPE html><body><svg/></body>", "text/html", named=False),
    _text("cp1252.html", "<html><body>Grüße</body></html>".encode("cp1252"), "text/html", named=False),
    _text("a.svg", SVG, "image/svg+xml", named=False),
    _text("declared.svg", '<?xml version="1.0"?>\n<!-- x -->\n' + _DOCTYPE + SVG, "image/svg+xml", named=False),
    _text("entities.svg", _ENTITIES + SVG, "image/svg+xml", named=False),
    _text("bom.svg", b"\xef\xbb\xbf" + SVG.encode(), "image/svg+xml", named=False),
    _text("prefix.svg", ET.tostring(ET.fromstring(SVG)), "image/svg+xml", named=False),  # noqa: S314 # our own text
    _text("licence.svg", "<!-- " + "licence " * 1300 + "-->\n" + SVG, "image/svg+xml", named=False),
    _text(
        "latin1.svg",
        (_LATIN + SVG.replace("<rect", "<title>Übersicht</title><rect")).encode("latin-1"),
        "image/svg+xml",
        named=False,
    ),
    _text("bare.svg", "<svg onload=alert(1)>", "image/svg+xml", named=False),
    _text("a.xml", '<?xml version="1.0"?><a/>', "application/xml", named=False),
    _text("latin1.xml", (_LATIN + "<a>ü</a>").encode("latin-1"), "application/xml", named=False),
    _text("catalogue.xml", "<catalogue><x/></catalogue>", "application/xml"),
    _text(
        "a.xhtml", '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml",
        named=False,
    ),
    _text("a.gpx", '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"/>', "application/gpx+xml",
          named=False),
    _text("a.kml", '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"/>',
          "application/vnd.google-earth.kml+xml", named=False),
    _text("a.rss", '<?xml version="1.0"?><rss version="2.0"/>', "application/rss+xml", named=False),
    # What Windows or a web server runs
    _text("a.hta", "<hta:application id=x />\n<script language=vbs>x</script>", "application/hta", named=False),
    _text("a.bat", "@echo off\r\n", "application/x-bat"),
    _text("a.cmd", "@echo off\r\n", "application/x-bat"),
    _text("a.ps1", "Get-Item .\r\n", "application/x-powershell"),
    _text("a.vbs", 'MsgBox "x"\r\n', "application/x-vbscript"),
    _text("a.url", "[InternetShortcut]\r\nURL=file://x\r\n", "application/x-mswinurl"),
    _text("a.reg", "Windows Registry Editor Version 5.00\r\n", "application/x-ms-regedit"),
    _text("a.wsf", "<job><script/></job>", "application/x-windows-script"),
    _text("a.php", "<?php phpinfo();", "application/x-httpd-php", named=False),
    _text("a.sh", "#!/bin/sh\n", "application/x-sh"),
)  # fmt: skip
