"""The rules that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from litestar_filestore import (
    ContentTypes,
    Extensions,
    FileField,
    FilestoreConfig,
    MaxFiles,
    MaxSize,
    MinSize,
    StoredObject,
)
from litestar_filestore.core.rule import Candidate, Rule, max_bytes, max_files
from litestar_filestore.errors import ConfigurationError, FileRejectedError, FileTooLargeError, FileTypeNotAllowedError
from litestar_filestore.uploads.forms import file_field
from litestar_filestore.validation.checking import FileCheck
from litestar_filestore.validation.rules import effective_rules, format_size, parse_size
from tests.validation.samples.archives import zipped
from tests.validation.samples.images import png

PDF = b"%PDF-1.7\n"


def judge(rule: Rule, content: bytes, filename: str = "a.txt") -> str | None:
    """Return the error of a rule for a file that is known as a whole, ``None`` if it is accepted."""
    check = FileCheck([rule], filename=filename)
    try:
        check.judge_head(content, complete=True)
        check.judge_end(len(content))
    except FileRejectedError as error:
        return f"{type(error).__name__}: {error.detail}"
    except FileTooLargeError as error:
        return f"{error.max_bytes}: {error.detail}"
    return None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0),
        (17, 17),
        ("0 B", 0),
        ("25 MB", 25_000_000),
        ("25MB", 25_000_000),
        ("1 kB", 1000),
        ("1 KB", 1000),
        ("64 KiB", 65_536),
        ("1.5 GiB", 1_610_612_736),
        ("0.001 GB", 1_000_000),
        ("2 TB", 2 * 10**12),
    ],
)
def test_size_as_people_write_it(size: int | str, expected: int) -> None:
    """Sizes have decimal and binary units."""
    assert parse_size(size) == expected


@pytest.mark.parametrize(
    "size", ["", "25", "MB", "-1 MB", "1,5 MB", "1.2345 MB", "25 mb", "1e3 B", "1_0 B", "٣ MB", -1, True]
)
def test_size_that_is_none(size: int | str) -> None:
    """Anything else is refused when the rule is written, not when the first file comes."""
    with pytest.raises(ConfigurationError):
        MaxSize(size)


@pytest.mark.parametrize(
    ("rule", "argument", "remedy"),
    [
        (ContentTypes, ["image/png"], r"ContentTypes\('application/pdf', 'image/\*'\), not \['image/png'\]"),
        (ContentTypes, 3, r"ContentTypes\('application/pdf', 'image/\*'\), not 3"),
        (Extensions, [".png"], r"Extensions\('.pdf', '.tar.gz'\), not \['.png'\]"),
        (MaxSize, ["1 MB"], r"bytes, or text such as '25 MB', not \['1 MB'\]"),
        (MaxSize, 1.5, "bytes, or text such as '25 MB', not 1.5"),
        (MinSize, None, "bytes, or text such as '25 MB', not None"),
        (MaxFiles, "3", r"MaxFiles\(10\), not '3'"),
    ],
)
def test_argument_of_the_wrong_type(rule: Callable[[Any], object], argument: object, remedy: str) -> None:
    """A list where arguments are expected, above all, is an error that shows the call."""
    with pytest.raises(ConfigurationError, match=remedy):
        rule(argument)


@pytest.mark.parametrize("place", ["StoredObject", "FileField", "FilestoreConfig"])
@pytest.mark.parametrize(
    ("rules", "remedy"),
    [
        (MaxSize(1), r"takes a list, even for one rule, not MaxSize: rules=\[MaxSize\(...\)\]"),
        ([MaxSize], r"holds the class MaxSize: call it, as in MaxSize\(...\)"),
        (["25 MB"], "holds '25 MB', which is no rule: give rules such as MaxSize"),
    ],
)
def test_rules_that_are_none(place: str, rules: Any, remedy: str) -> None:
    """What is no list of rules is refused where it is written, and not by the first upload."""
    makers: dict[str, Callable[[], object]] = {
        "StoredObject": lambda: StoredObject("documents", rules=rules),
        "FileField": lambda: FileField("documents", rules=rules),
        "FilestoreConfig": lambda: FilestoreConfig(rules=rules),
    }
    with pytest.raises(ConfigurationError, match=f"rules= of {place} {remedy}"):
        makers[place]()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (25_000_000, "25 MB"),
        (65_536, "64 KiB"),
        (1_048_577, "1 MB"),
        (1_999_999, "1.9 MB"),
    ],
)
def test_size_for_people(size: int, text: str) -> None:
    """Sizes are told in the unit they were declared in, others rounded down."""
    assert format_size(size) == text


def test_max_size() -> None:
    """A file of exactly the limit is allowed, one byte more is not."""
    assert judge(MaxSize(1000), b"x" * 1000) is None
    assert judge(MaxSize(1000), b"x" * 1001) == "1000: The file is larger than the 1 KB that are allowed"


def test_min_size() -> None:
    """A file of exactly the limit is allowed, one byte less is not."""
    assert judge(MinSize(1000), b"x" * 1000) is None
    assert judge(MinSize(1000), b"x" * 999) == "FileRejectedError: The file is smaller than the 1 KB that are needed"


def test_empty_file() -> None:
    """Empty files are files, unless a rule says otherwise."""
    assert judge(MaxSize(10), b"") is None
    assert judge(MinSize(1), b"") == "FileRejectedError: The file is empty"


@pytest.mark.parametrize(
    ("patterns", "filename", "content", "accepted"),
    [
        (["application/pdf"], "a.pdf", PDF, True),
        (["image/*"], "a.png", png(), True),
        (["image/*"], "a.pdf", PDF, False),
        (["text/*", "application/pdf"], "a.pdf", PDF, True),
        (["Application/PDF; version=1"], "a.pdf", PDF, True),
        (["image/jpg"], "a.png", png(), False),
        (["image/png"], "no extension", png(), True),
        (["image/png"], "a.unheardof", png(), True),
        (["image/png"], "a.PNG", png(), True),
        (["image/png"], "a.html", png(), False),
        (["image/png"], "a.png.exe", png(), False),
        (["image/png"], "a.png", b"<script>", False),
        (["text/plain"], "a.txt", b"words", True),
        (["text/plain"], "a.txt", b"<script>", False),
        (["image/pn"], "a.png", png(), False),
        (["application/zip"], "a.docx", zipped("a.txt"), False),
    ],
)
def test_content_types(patterns: list[str], filename: str, content: bytes, accepted: bool) -> None:  # noqa: FBT001
    """The type of the content counts, compared as a whole, and the extension has to agree."""
    answer = judge(ContentTypes(*patterns), content, filename)
    assert (answer is None) is accepted
    assert accepted or str(answer).startswith("FileTypeNotAllowedError: ")


@pytest.mark.parametrize(
    ("extensions", "filename", "content", "accepted"),
    [
        ([".pdf"], "a.pdf", PDF, True),
        (["pdf"], "A.PDF", PDF, True),
        ([".pdf"], "pdf", PDF, False),
        ([".pdf"], ".pdf", PDF, False),
        ([".pdf"], "a.pdf.exe", PDF, False),
        ([".pdf"], "a.txt", b"words", False),
        ([".pdf"], "a.pdf", b"words", False),
        ([".pdf", ".txt"], "a.txt", b"words", True),
        ([".tar.gz"], "a.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0", True),
        ([".tar.gz"], "a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0", False),
    ],
)
def test_extensions(extensions: list[str], filename: str, content: bytes, accepted: bool) -> None:  # noqa: FBT001
    """The end of the name counts, and the content has to be what it says."""
    answer = judge(Extensions(*extensions), content, filename)
    assert (answer is None) is accepted
    assert accepted or str(answer).startswith("FileTypeNotAllowedError: ")


def test_messages_name_what_is_allowed() -> None:
    """Whoever sent the file reads what to send instead."""
    assert judge(ContentTypes("application/pdf", "image/*"), b"words") == (
        "FileTypeNotAllowedError: Files of type text/plain are not allowed here, only application/pdf or image/*"
    )
    assert judge(Extensions(".pdf", ".png", ".gif"), b"words") == (
        "FileTypeNotAllowedError: The name of the file has to end in .pdf, .png or .gif"
    )


@pytest.mark.parametrize("patterns", [(), ("pdf",), ("",), ("*/*",), ("a/b/c",), ("/pdf",)])
def test_content_types_that_are_none(patterns: tuple[str, ...]) -> None:
    """A pattern that could never match, or matches everything, is refused when it is written."""
    with pytest.raises(ConfigurationError):
        ContentTypes(*patterns)


@pytest.mark.parametrize("extensions", [(), ("",), (".",)])
def test_extensions_that_are_none(extensions: tuple[str, ...]) -> None:
    """An empty extension is refused when it is written."""
    with pytest.raises(ConfigurationError):
        Extensions(*extensions)


def test_max_bytes() -> None:
    """The smallest limit counts; functions and rules that say nothing of sizes set none."""
    assert max_bytes([MaxSize(3), MinSize(1), MaxSize(2), lambda file: file.filename]) == 2
    assert max_bytes([MaxFiles(1)]) is None


def test_max_files() -> None:
    """The smallest limit counts; without one there is none."""
    assert max_files([MaxFiles(3), MaxSize(1), MaxFiles(2)]) == 2
    assert max_files([MaxSize(1)]) is None
    with pytest.raises(ConfigurationError):
        MaxFiles(0)


def test_nearer_rules_stand_in_for_farther_ones() -> None:
    """Of each class the nearest place counts; functions of all places do."""

    def near(_: Candidate) -> None: ...

    def far(_: Candidate) -> None: ...

    rules = effective_rules(
        [MaxSize(1), near], [MaxSize(2), MinSize(1), far], [MinSize(2), ContentTypes("image/*"), far]
    )
    assert rules == (MaxSize(1), near, MinSize(1), far, ContentTypes("image/*"))


def test_rules_of_one_place_all_count() -> None:
    """Two rules of one class in one place are both meant."""
    assert effective_rules([MinSize(1), MinSize(2)], [MinSize(3)]) == (MinSize(1), MinSize(2))


def test_field_of_an_annotation() -> None:
    """Rules stand in an annotation by themselves or in a field, and the field nearest to its use says where to."""
    said = file_field([FileField("a", [MaxSize(1)], "x/{random}"), "a note", MinSize(1), FileField("b")])
    assert said == FileField("b", (MaxSize(1), MinSize(1)), "x/{random}")
    assert hash(said) == hash(FileField("b", (MaxSize(1), MinSize(1)), "x/{random}"))


def test_field_with_a_template_that_cannot_work() -> None:
    """A template without randomness is refused when it is written."""
    with pytest.raises(ConfigurationError, match="random"):
        FileField(key_template="always/the/same")


def test_types_that_are_refused_are_of_their_own_class() -> None:
    """A wrong type can be told from other refusals, as its HTTP status is another."""
    check = FileCheck([ContentTypes("image/*")], filename="a.pdf")
    with pytest.raises(FileTypeNotAllowedError):
        check.judge_head(PDF, complete=True)
