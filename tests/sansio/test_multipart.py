"""The grammar of forms."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings, strategies as st

from litestar_filestore.errors import MultipartError, MultipartLimitError
from litestar_filestore.sansio.multipart import MAX_STRAY_BYTES, FormParser, PartHead, form_boundary
from tests.http.multipart_bodies import BOUNDARY, CONTENT_TYPE, END, Piece, body_of, part_of

MIB = 1024 * 1024


def parse(blocks: Iterable[bytes], *, max_parts: int = 100) -> list[tuple[PartHead, bytes]]:
    """Return the parts of a form that comes in these blocks."""
    parser = FormParser(BOUNDARY, max_parts=max_parts, max_headers=8, max_header_bytes=4096)
    parts: list[tuple[PartHead, bytes]] = []
    content: list[bytes] = []
    for block in blocks:
        for event in parser.feed(block):
            if isinstance(event, PartHead):
                parts.append((event, b""))
                content = []
            elif event is None:
                parts[-1] = (parts[-1][0], b"".join(content))
            else:
                content.append(event)
    parser.finish()
    return parts


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut data at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def with_disposition(value: str, *more: str) -> bytes:
    """Return a form of one part with this Content-Disposition."""
    head = "\r\n".join([f"Content-Disposition: {value}", *more])
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n\r\nx\r\n" + END


# What looks like a boundary, or the beginning of one, must come out as it went in.
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\r\n--" + BOUNDARY[:-1], b"x", BOUNDARY]),
        max_size=20,
    ).map(b"".join),
).filter(lambda content: b"\r\n--" + BOUNDARY not in b"\r\n" + content + b"\r\n")
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    lambda name: "\\" not in name and "%" not in name
)
PIECES = st.builds(
    Piece, NAMES, CONTENTS, st.none() | NAMES, st.sampled_from([None, "text/plain", "image/png"]), st.just(())
)


@given(st.lists(PIECES, max_size=4), st.lists(st.integers(min_value=0), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_way_of_cutting_gives_the_same_parts(pieces: list[Piece], places: list[int]) -> None:
    """Names, file names, types and contents come out as they went in, wherever the blocks end."""
    found = parse(cut(body_of(*pieces), places))
    assert [(head.name, head.filename, head.content_type, content) for head, content in found] == [
        (each.name, each.filename, each.content_type, each.content) for each in pieces
    ]


def test_single_bytes_give_the_same_parts() -> None:
    """A form that comes byte by byte is the form that comes at once."""
    body = body_of(Piece("a", b"\r\n--\r\n"), Piece("b", b"", "b.txt"), Piece("c", bytes(range(256)), "c"))
    assert parse([bytes([each]) for each in body]) == parse([body])


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=10))
@example(b"--" + BOUNDARY + b"\r\n\r\n", [])
@example(b"--" + BOUNDARY, [3])
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_parts_or_a_refusal(data: bytes, places: list[int]) -> None:
    """Nothing that a client sends raises anything else, and no loop goes on without input."""
    with suppress(MultipartError):
        parse(cut(b"--" + BOUNDARY + b"\r\n" + data + b"\r\n" + END, places))


@pytest.mark.parametrize("length", range(1, len(body_of(Piece("a", b"content", "a.txt"))) - 3))
def test_truncated_form_is_refused(length: int) -> None:
    """Wherever a form breaks off before its last boundary, that is noticed."""
    with pytest.raises(MultipartError, match="ends before"):
        parse([body_of(Piece("a", b"content", "a.txt"))[:length]])


def test_form_without_parts_is_empty() -> None:
    """The last boundary alone is a form."""
    assert parse([END]) == []


def test_preamble_and_epilogue_are_skipped() -> None:
    """Text before the first and behind the last boundary belongs to nothing (RFC 2046 section 5.1.1)."""
    assert len(parse([b"preamble\r\n" + body_of(Piece("a", b"1")) + b"epilogue", b"more"])) == 1


@pytest.mark.parametrize("where", ["preamble", "epilogue"])
def test_endless_stray_bytes_are_refused(where: str) -> None:
    """What belongs to no part is read to a limit only."""
    flood = [b"x" * 8192] * (MAX_STRAY_BYTES // 8192 + 2)
    form = [body_of(Piece("a", b"1"))]
    with pytest.raises(MultipartError, match="belongs to no part"):
        parse(flood + form if where == "preamble" else form + flood)


@pytest.mark.parametrize("unit", [b"\r", b"\n", b"\r\n", b"\r\n--", b"--" + BOUNDARY[:-1], b"\r\n--" + BOUNDARY[:-1]])
def test_content_full_of_beginnings_of_boundaries_takes_linear_time(unit: bytes) -> None:
    """16 MiB of line breaks and half boundaries are read in seconds, not hours."""
    content = unit * (16 * MIB // len(unit))
    body = body_of(Piece("a", content, "a"))
    blocks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    start = time.process_time()
    assert parse(blocks)[0][1] == content
    assert time.process_time() - start < 5


def test_too_many_parts_are_refused_at_the_first_one_too_many() -> None:
    """Of 10,000 parts no more than the limit are looked at."""
    body = body_of(*[Piece("a", b"")] * 10_000)
    start = time.process_time()
    with pytest.raises(MultipartLimitError):
        parse([body])
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("headers", [("X-Long: " + "x" * MIB,), tuple(f"X-{each}: 1" for each in range(1000))])
def test_too_long_and_too_many_headers_are_refused(headers: tuple[str, ...]) -> None:
    """The headers of a part are limited in length and number."""
    with pytest.raises(MultipartLimitError):
        parse([body_of(Piece("a", b"", headers=headers))])


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data",
        'form-data; name=""',
        'form-data; filename="a.txt"',
        'attachment; name="a"',
        'form-data; name="a"; name="b"',
        'form-data; name="a"; filename="b"; filename="c"',
        'form-data; name="a%0D%0Ab"',
        'form-data; name="a\x00b"',
    ],
)
def test_part_without_one_clear_name_is_refused(disposition: str) -> None:
    """Nameless parts, names that say two things and names that break lines are no fields."""
    with pytest.raises(MultipartError):
        parse([with_disposition(disposition)])


@pytest.mark.parametrize(
    "header",
    [
        'Content-Disposition: form-data; name="b"',
        "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable",
        "no header at all",
        ": empty",
    ],
)
def test_part_with_a_header_that_means_something_else_is_refused(header: str) -> None:
    """A second Content-Disposition and encodings that nobody decodes are refused."""
    with pytest.raises(MultipartError):
        parse([with_disposition('form-data; name="a"', header)])


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "BINARY"])
def test_transfer_encoding_that_changes_nothing_is_taken(encoding: str) -> None:
    """Old clients say that they do not encode."""
    (_, content), *_ = parse([with_disposition('form-data; name="a"', f"Content-Transfer-Encoding: {encoding}")])
    assert content == b"x"


def test_extended_file_name_does_not_replace_the_plain_one() -> None:
    """``filename*`` is not for forms (RFC 7578 section 4.2): what reads it here is led around what read it before."""
    disposition = 'form-data; name="a"; filename="a.txt"; filename*=UTF-8\'\'b.exe'
    ((head, _),) = parse([with_disposition(disposition)])
    assert head.filename == "a.txt"


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        (CONTENT_TYPE, BOUNDARY),
        ('multipart/form-data; boundary="a b:c"', b"a b:c"),
        ("Multipart/Form-Data;charset=utf-8;BOUNDARY=abc", b"abc"),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_boundary_is_read_from_the_header(header: str, boundary: bytes | None) -> None:
    """The boundary of a form is found, quoted or not; other types have none."""
    assert form_boundary(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=a; boundary=b",
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data; boundary=" + "x" * 10_000,
        "multipart/form-data; boundary=a\x00b",
        "multipart/form-data; boundary=käse",
        'multipart/form-data; boundary="a\r\nb"',
    ],
)
def test_boundary_outside_its_grammar_is_refused(header: str) -> None:
    """No, empty, several, long and odd boundaries are refused before a byte is read."""
    with pytest.raises(MultipartError):
        form_boundary(header)


def test_last_of_many_parts_in_one_block_is_read() -> None:
    """Parts that share a block are told apart."""
    found = parse([b"".join(part_of(Piece(str(each), str(each).encode())) for each in range(100)) + END])
    assert [(head.name, content) for head, content in found] == [(str(each), str(each).encode()) for each in range(100)]
