"""The grammar of forms."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings, strategies as st

from litestar_filestore.errors import MultipartError, MultipartLimitError
from litestar_filestore.sansio.multipart import MAX_STRAY_BYTES, FormParser, PartHead, form_boundary
from tests.effort import effort
from tests.uploads.multipart_bodies import BOUNDARY, CONTENT_TYPE, END, Piece, body_of, part_of

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
    """Eight times as many line breaks and half boundaries are some eight times the work, not 64 times."""

    def work(size: int) -> float:
        content = unit * (size // len(unit))
        body = body_of(Piece("a", content, "a"))
        blocks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
        assert parse(blocks)[0][1] == content
        return effort(lambda: parse(blocks))

    assert work(16 * MIB) < 24 * work(2 * MIB)


def test_too_many_parts_are_refused_at_the_first_one_too_many() -> None:
    """Of 10,000 parts no more than the limit are looked at."""
    body = body_of(*[Piece("a", b"")] * 10_000)

    def refuse() -> None:
        with pytest.raises(MultipartLimitError):
            parse([body])

    assert effort(refuse) < 100


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


@pytest.mark.parametrize("padding", [b" ", b"\t", b" \t " * 40], ids=["blank", "tab", "many"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_padding_behind_a_boundary_is_passed(padding: bytes, step: int) -> None:
    """Blanks that a gateway has put behind boundaries belong to nothing (RFC 2046 section 5.1.1)."""
    body = body_of(Piece("a", b"1"), Piece("b", b"2")).replace(BOUNDARY + b"\r\n", BOUNDARY + padding + b"\r\n")
    found = parse(body[start : start + step] for start in range(0, len(body), step))
    assert [(head.name, content) for head, content in found] == [("a", b"1"), ("b", b"2")]


@pytest.mark.parametrize("behind", [b"x", b" x", b" --", b"-", b"\r", b"\n", b"\x0b", b"\xa0"])
def test_anything_else_behind_a_boundary_is_refused(behind: bytes) -> None:
    """A line that only begins like a boundary is none, and no content either."""
    with pytest.raises(MultipartError):
        parse([body_of(Piece("a", b"1")).replace(BOUNDARY + b"\r\n", BOUNDARY + behind + b"\r\n")])


def test_endless_padding_is_refused() -> None:
    """Padding is read to a limit only."""
    with pytest.raises(MultipartLimitError):
        parse([b"--" + BOUNDARY, *[b" " * 1024] * 10])


FIELD_NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1).filter(
    lambda name: name.title() not in {"Content-Length", "Content-Transfer-Encoding", "Content-Disposition"}
)


@given(FIELD_NAMES, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=100))
@example("x.y~z!#$%&'*+-^_`|{}()<>@,;\\\"/[]?=", "")
def test_header_fields_that_nobody_knows_are_passed(name: str, value: str) -> None:
    """Other header fields are ignored (RFC 7578 section 4.8), whatever characters a name may have."""
    ((head, content),) = parse([with_disposition('form-data; name="a"', f"{name}: {value}")])
    assert (head.name, head.filename, content) == ("a", None, b"x")


def test_unknown_header_field_in_another_encoding_is_passed() -> None:
    """What nobody asks for need not be UTF-8."""
    body = with_disposition('form-data; name="a"', "X-Author: ?").replace(b"?", b"J\xfcrgen")
    ((head, _),) = parse([body])
    assert head.headers[-1] == ("X-Author", "J\ufffdrgen")


@pytest.mark.parametrize(
    "head",
    [
        b'X-A: 1\nContent-Disposition: form-data; name="a"',
        b'X-A: 1\rContent-Disposition: form-data; name="a"',
        b'X-A: 1\r\n Content-Disposition: form-data; name="b"\r\nContent-Disposition: form-data; name="a"',
        b'Content-Disposition: form-data;\r\n name="a"',
        b'Content-Disposition: form-data;\r\n\tname="a"',
        b'Content-Disposition : form-data; name="a"',
        b'Content-Disposition: form-data; name="a"\r\r',
        b'Content-Disposition: form-data; name="a"\n',
    ],
)
def test_headers_that_two_readers_split_differently_are_refused(head: bytes) -> None:
    """Half line breaks, folded lines and blanks before the colon hide a header from one reader or another."""
    with pytest.raises(MultipartError):
        parse([b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\nx\r\n" + END])


@pytest.mark.parametrize(
    "disposition",
    [
        r'form-data; name="a"; filename="a\"; filename=\"evil.php"',
        r'form-data; name="a"; filename="a\\"',
        r'form-data; name="a"; filename="a\"b.txt"',
        r'form-data; name="a\"; name=\"b"',
        'form-data; name="a";\xa0filename="a.txt"',
        'form-data; name="a" filename="a.txt"',
        'form-data; name="a"; filename=a b.txt',
        'form-data; name="a"; filename="a.txt',
        'form-data, name="a"',
        'form-data; name="a"; ; filename="a.txt"',
    ],
)
def test_disposition_that_two_readers_take_differently_is_refused(disposition: str) -> None:
    """Quoted quotes, and what is no list of parameters, are different things to different readers."""
    with pytest.raises(MultipartError):
        parse([with_disposition(disposition)])


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize("after", [b"--\r\n", b'\r\nContent-Disposition: form-data; name="b"\r\n\r\nx\r\n' + END])
def test_part_that_ends_with_its_headers_is_refused(after: bytes, step: int) -> None:
    """A boundary glued to headers ends an empty part for some, and is the beginning of the content for others."""
    body = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n--' + BOUNDARY + after
    with pytest.raises(MultipartError):
        parse(body[start : start + step] for start in range(0, len(body), step))


def test_form_that_was_refused_stays_refused() -> None:
    """Who goes on after an error is not given what follows in the wrong place."""
    parser = FormParser(BOUNDARY, max_parts=9, max_headers=8, max_header_bytes=4096)
    with pytest.raises(MultipartError):
        list(parser.feed(with_disposition("attachment")))
    with pytest.raises(MultipartError):
        list(parser.feed(body_of(Piece("a", b"1"))))
    with pytest.raises(MultipartError):
        parser.finish()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("=?utf-8?B?w5xiZXJzaWNodC5jc3Y=?=", "Übersicht.csv"),
        ("=?UTF-8?b?w5xiZXJzaWNodC5jc3Y=?=", "Übersicht.csv"),
        ("=?utf-8?B?!?=", "=?utf-8?B?!?="),
        ("=?utf-8?B?/w==?=", "=?utf-8?B?/w==?="),
        ("=?utf-8?B?w5xi?= and more", "=?utf-8?B?w5xi?= and more"),
    ],
)
def test_names_of_dotnet_are_decoded(written: str, name: str) -> None:
    """.NET's HttpClient writes names that are not ASCII as an encoded word; what only looks like one stays."""
    ((head, _),) = parse([with_disposition(f'form-data; name="a"; filename="{written}"')])
    assert head.filename == name


def test_encoded_name_of_a_field_cannot_hide_a_line_break() -> None:
    """What is decoded is checked as what is not."""
    with pytest.raises(MultipartError, match="control character"):
        parse([with_disposition('form-data; name="=?utf-8?B?YQ0KYg==?="')])


def test_headers_come_without_control_characters() -> None:
    """What a handler may put into a row is text for every database."""
    ((head, _),) = parse([with_disposition('form-data; name="a"; filename="a\x00b"', "X-Note: 1\x002\x1b[0m")])
    assert head.headers[1] == ("X-Note", "1\ufffd2\ufffd[0m")
    assert "\x00" not in head.headers[0][1]


@pytest.mark.parametrize("length", ["2", "0", "-1", "x", "1\r\nContent-Length: 1"])
def test_part_of_another_length_than_it_says_is_refused(length: str) -> None:
    """A part that says its length has it."""
    with pytest.raises(MultipartError):
        parse([with_disposition('form-data; name="a"', f"Content-Length: {length}")])


@pytest.mark.parametrize("type_", ["text/plain; charset=utf-8", "TEXT/PLAIN", "text/plain "])
def test_declared_type_is_bare(type_: str) -> None:
    """A media type comes without its parameters."""
    ((head, _),) = parse([with_disposition('form-data; name="a"', f"Content-Type: {type_}")])
    assert head.content_type == "text/plain"


@pytest.mark.parametrize("type_", ["", "text", "text/plain/x", "x" * 3000 + "/x", "text/\ufffd", "a b/c", "text/"])
def test_declared_type_that_is_none_is_not_handed_on(type_: str) -> None:
    """What no media type looks like says nothing about the content."""
    ((head, _),) = parse([with_disposition('form-data; name="a"', f"Content-Type: {type_}")])
    assert head.content_type is None


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


def test_piece_that_was_taken_is_held_by_nobody() -> None:
    """Who waits for a store with the end of a block has the only one: many uploads hold many blocks."""
    parser = FormParser(b"B", max_parts=1, max_headers=8, max_header_bytes=4096)
    list(parser.feed(b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'))
    events = parser.feed(bytes(100_000))
    piece = next(events)
    assert isinstance(piece, bytes)
    assert sys.getrefcount(piece) == 2  # this variable, and the argument of the call
    assert list(events) == []
