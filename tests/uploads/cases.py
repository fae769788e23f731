"""What clients send to the application of `tests.uploads.shapes`, and what is to come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.uploads.shapes import MAX_BYTES

__all__ = ("BOUNDARY", "CASES", "PNG", "SHAPES", "Case", "Expected", "Part", "Shape", "encode")

BOUNDARY = "----boundary-of-the-test"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde"


@dataclass(frozen=True)
class Shape:
    """How one shape calls its fields."""

    title: str = "title"
    file: str = "file"
    more: str = "more"
    thumb: str = "thumb"
    accepts_nothing: bool = False
    """Whether there may be no form."""
    requires_nothing: bool = False
    """Whether every field may be missing."""
    whole: bool = False
    """Whether the body is nothing but files."""
    many: bool = False
    """Whether it is a list of files."""


SHAPES = {
    "/dataclass": Shape(),
    "/struct": Shape("TITLE", "FILE", "MORE", "THUMB"),
    "/typed-dict": Shape(),
    "/attrs": Shape(),
    "/pydantic": Shape(file="theFile"),
    "/mixed": Shape(),
    "/column": Shape(),
    "/optional": Shape(accepts_nothing=True),
    "/body": Shape(),
    "/model": Shape(file="document"),
    "/partial": Shape("TITLE", "FILE", "MORE", "THUMB", requires_nothing=True),
    "/bare": Shape(whole=True),
    "/bare-list": Shape(file="files", whole=True, many=True),
}


class Part(NamedTuple):
    """One part of a form."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None


class Expected(NamedTuple):
    """What a request is answered with."""

    status: int
    names: list[str] | None = None
    """Names of the files that are stored; ``None`` for an error."""
    key: str | None = None
    """The field that an error is about."""


@dataclass(frozen=True)
class Case:
    """One thing that clients do."""

    parts: Callable[[Shape], list[Part]]
    expected: Callable[[Shape], Expected]
    suits: Callable[[Shape], bool] = lambda _shape: True
    cut: int = 0
    """Bytes to leave out at the end of the body."""


def encode(parts: list[Part]) -> bytes:
    """Return the body of a form (RFC 7578)."""
    lines: list[bytes] = []
    for part in parts:
        disposition = f'Content-Disposition: form-data; name="{part.name}"'
        if part.filename is not None:
            disposition += f'; filename="{part.filename}"'
        headers = [disposition, *([f"Content-Type: {part.content_type}"] if part.content_type else [])]
        lines += [f"--{BOUNDARY}".encode(), *(each.encode() for each in headers), b"", part.content]
    return b"\r\n".join([*lines, f"--{BOUNDARY}--".encode(), b""])


def title(shape: Shape) -> list[Part]:
    """Return the part of the title, where a shape has one."""
    return [] if shape.whole else [Part(shape.title, b"A title")]


def text(name: str, filename: str, content: bytes = b"Some text.\n") -> Part:
    """Return the part of a text file."""
    return Part(name, content, filename, "text/plain")


def form(*parts: Callable[[Shape], Part]) -> Callable[[Shape], list[Part]]:
    """Return a form of a title and these parts."""
    return lambda shape: [*title(shape), *(each(shape) for each in parts)]


def stored(*names: str) -> Callable[[Shape], Expected]:
    """Expect files of these names."""
    return lambda _shape: Expected(201, list(names))


def refused(status: int) -> Callable[[Shape], Expected]:
    """Expect an error about the file."""
    return lambda shape: Expected(status, key=shape.file)


def missing_file(shape: Shape) -> Expected:
    """Expect an error about the missing file, unless nothing is required."""
    return Expected(201, []) if shape.requires_nothing else Expected(400, key=shape.file)


def missing_title(shape: Shape) -> Expected:
    """Expect an error, unless nothing is required."""
    return Expected(201, []) if shape.requires_nothing else Expected(400)


def missing_form(shape: Shape) -> Expected:
    """Expect an error about the missing file, unless there may be no form."""
    return Expected(201, []) if shape.accepts_nothing else missing_file(shape)


def is_form(shape: Shape) -> bool:
    """Return whether there is a form around the files."""
    return not shape.whole


CASES = {
    "one file": Case(form(lambda s: text(s.file, "a.txt")), stored("a.txt")),
    "list of files": Case(
        form(lambda s: text(s.file, "a.txt"), lambda s: text(s.more, "b.txt"), lambda s: text(s.more, "c.txt")),
        stored("a.txt", "b.txt", "c.txt"),
        lambda shape: is_form(shape) or shape.many,
    ),
    "list of one file": Case(
        form(lambda s: text(s.file, "a.txt"), lambda s: text(s.more, "b.txt")), stored("a.txt", "b.txt"), is_form
    ),
    "optional given": Case(
        form(lambda s: text(s.file, "a.txt"), lambda s: text(s.thumb, "t.txt")), stored("a.txt", "t.txt"), is_form
    ),
    "optional empty": Case(
        form(lambda s: text(s.file, "a.txt"), lambda s: text(s.thumb, "", b""), lambda s: text(s.more, "", b"")),
        stored("a.txt"),
        is_form,
    ),
    "empty file": Case(form(lambda s: text(s.file, "empty.txt", b"")), lambda _shape: Expected(201, ["empty.txt"])),
    "too large": Case(form(lambda s: text(s.file, "a.txt", b"x" * (MAX_BYTES + 1))), refused(413)),
    "too large behind a good one": Case(
        form(lambda s: text(s.file, "a.txt"), lambda s: text(s.thumb, "t.txt", b"x" * (MAX_BYTES + 1))),
        lambda shape: Expected(413, key=shape.thumb),
        is_form,
    ),
    "wrong type": Case(form(lambda s: Part(s.file, PNG, "a.png", "text/plain")), refused(415)),
    "wrong name": Case(form(lambda s: Part(s.file, PNG, "a.txt", "text/plain")), refused(415)),
    "broken multipart": Case(
        form(lambda s: text(s.file, "a.txt")), lambda _shape: Expected(400), cut=len(BOUNDARY) + 8
    ),
    "broken in a file": Case(
        form(lambda s: text(s.file, "a.txt", b"x" * 500)), lambda _shape: Expected(400), cut=len(BOUNDARY) + 308
    ),
    "extra field": Case(
        form(lambda s: text(s.file, "a.txt"), lambda _: Part("extra", b"text"), lambda _: text("other", "x.txt")),
        stored("a.txt"),
        is_form,
    ),
    "missing file": Case(form(), missing_file, is_form),
    "missing title": Case(lambda shape: [text(shape.file, "a.txt")], missing_title, is_form),
    "text instead of a file": Case(form(lambda s: Part(s.file, b"no file")), lambda _shape: Expected(400), is_form),
    "no form": Case(lambda _shape: [], missing_form),
}
