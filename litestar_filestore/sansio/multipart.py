"""A parser for ``multipart/form-data`` (RFC 7578, RFC 2046): bytes in, parts out, nothing stored.

Two readers of one form must not see different forms: a firewall that reads the first of two names, while this parser
takes the last, can be bypassed. So the parser refuses whatever the specifications leave to the reader. It accepts what
they require (padding after a boundary, unknown header fields).
"""

from __future__ import annotations

import binascii
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from litestar_filestore.errors import MultipartError, MultipartLimitError
from litestar_filestore.sansio.declared import declared_charset, declared_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("MAX_STRAY_BYTES", "Event", "FormParser", "PartHead", "form_boundary", "part_head")

MAX_STRAY_BYTES: Final = 64 * 1024
"""Most consecutive bytes that are neither headers nor content of a part, beyond the block in which they end."""

# RFC 2046 section 5.1.1: 1 to 70 characters, the last of which is not a blank.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# A parameter of the Content-Type. The alternatives start with different characters, so it takes linear time.
_PARAMETER: Final = re.compile(r';[ \t]*([^\s;="]{1,64})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)')
# A parameter of the Content-Disposition, quoted as browsers do (HTML, "multipart/form-data encoding algorithm"): a
# quote is "%22", and a backslash stands for itself. So a quoted value ends at the next quote.
_DISPOSITION: Final = re.compile(
    r'[ \t]*;[ \t]*([!#$%&\'*+\-.^_`|~0-9A-Za-z]{1,64})[ \t]*=[ \t]*(?:"([^"]*)"|([^\s;"\\]+))'
)
_FORM_DATA: Final = re.compile(r"form-data", re.IGNORECASE)
_END: Final = re.compile(r"[ \t]*;?[ \t]*")
# RFC 5322 section 3.6.8: any printable character but the colon.
_FIELD_NAME: Final = re.compile(rb"[!-9;-~]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PERCENT: Final = {"%0D": "\r", "%0A": "\n", "%22": '"'}
_PERCENTS: Final = re.compile("|".join(_PERCENT))
# The form in which .NET sends a name that is not ASCII (RFC 2047): one word, whatever its length.
_ENCODED_WORD: Final = re.compile(r"=\?utf-8\?B\?([0-9A-Za-z+/]+={0,2})\?=", re.IGNORECASE | re.ASCII)
_PLAIN_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
_SINGLE_HEADERS: Final = frozenset(
    {"Content-Disposition", "Content-Type", "Content-Transfer-Encoding", "Content-Length"}
)
_LENGTH: Final = re.compile(r"[0-9]{1,19}")


class PartHead(NamedTuple):
    """The parsed headers of a part."""

    name: str
    """Name of the form field, never empty."""
    filename: str | None
    """The client's filename, unchecked; ``None`` for a text field, ``""`` for a file input without a file."""
    content_type: str | None
    """The media type that the client declares: lower case, no parameters; ``None`` if it is malformed."""
    charset: str | None
    """Its encoding, as the client declares it."""
    headers: tuple[tuple[str, str], ...]
    """All headers, with names such as ``Content-Type``, without control characters: no database accepts NUL."""


Event: TypeAlias = PartHead | bytes | None
"""The head of a part, a non-empty piece of its content, or ``None`` for its end."""


def form_boundary(content_type: str) -> bytes | None:
    """Return the boundary of a ``Content-Type`` header, ``None`` if the media type is another one.

    Raises:
        MultipartError: If it has no boundary, several, or one that RFC 2046 does not allow.
    """
    media_type, _, _ = content_type.partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    found = [value for name, value in _parameters(content_type) if name == "boundary"]
    if len(found) != 1:
        raise MultipartError(
            "The Content-Type of the form does not announce exactly one boundary: write multipart/form-data; "
            "boundary=..."
        )
    boundary = found[0].strip(" \t")
    if boundary.startswith('"'):
        boundary = boundary[1:-1].replace("\\", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise MultipartError("The boundary of the form is not valid: use 1 to 70 letters, digits and hyphens")
    return boundary.encode("ascii")


class _State(Enum):
    PREAMBLE = auto()
    """Before the first boundary."""
    BOUNDARY = auto()
    """After a boundary, on its line."""
    HEADERS = auto()
    """Before the empty line."""
    GLUE = auto()
    """At the beginning of the content."""
    CONTENT = auto()
    """In the content."""
    END = auto()
    """After the last boundary."""


class FormParser:
    """Turns the bytes of a form into events. Feed it blocks of 64 KiB or more, because each block has a fixed cost."""

    def __init__(self, boundary: bytes, *, max_parts: int, max_headers: int, max_header_bytes: int) -> None:
        """Expect a form.

        Args:
            boundary: As returned by `form_boundary`.
            max_parts: Most parts allowed.
            max_headers: Most headers allowed in each part.
            max_header_bytes: Longest header allowed, its name included.
        """
        self._delimiter = b"\r\n--" + boundary
        self._parts_left = max_parts
        self._max_headers = max_headers
        self._max_header_bytes = max_header_bytes
        self._state = _State.PREAMBLE
        self._data = b"\r\n"  # the line break before a boundary belongs to it, and the first may have none
        self._lines: list[bytes] = []
        self._content_left: int | None = None
        self._stray_bytes = 0
        self._broken = False
        self.ends_part = False
        """Whether the end of the part follows the last piece of its content."""

    def feed(self, block: bytes) -> Iterator[Event]:
        """Return an iterator over the events of a block; exhaust it before you feed the next block.

        The parser drops its reference to a piece of content that ends with the block as soon as it is taken. A caller
        that waits for a store then holds the only one.

        Raises:
            MultipartError: If this is not a form.
            MultipartLimitError: If it exceeds a limit.
        """
        if self._broken:
            raise MultipartError("The form cannot be read after an error in it: correct it and send it again")
        self._broken = True  # until the block is read: after an error, parsing would resume in the wrong place
        self._stray_bytes += len(block)
        self._data = self._data + block if self._data else block
        return self._events()

    def finish(self) -> None:
        """Signal the end of the body.

        Raises:
            MultipartError: If the form has not ended.
        """
        if self._broken or self._state is not _State.END:
            raise MultipartError("The form ends before its last boundary: send it whole, up to --boundary--")

    def _events(self) -> Iterator[Event]:
        at = 0
        while self._state is not _State.END:
            before = at, self._state
            if self._state is _State.CONTENT:
                found = self._data.find(self._delimiter, at)
                end = found if found >= 0 else self._safe_end(self._data, at)
                if end > at:
                    self._count(end - at)
                    self._stray_bytes = 0
                    pieces = [self._data[at:end]]
                    at, self.ends_part = end, found >= 0
                    if end == len(self._data):
                        self._data, at = b"", 0
                    yield pieces.pop()
                if found >= 0:
                    self._end_part()
                    yield None
                    at, self._state = found + len(self._delimiter), _State.BOUNDARY
            elif self._state is _State.HEADERS:
                at, head = self._read_header(self._data, at)
                if head is not None:
                    self._stray_bytes = 0
                    yield head
            else:
                at = self._step(self._data, at)
            if (at, self._state) == before:
                break  # more bytes are needed
        self._data = b"" if self._state is _State.END else self._data[at:]
        self._broken = self._stray_bytes > MAX_STRAY_BYTES
        if self._broken:
            # An endless preamble, epilogue or header would keep the parser busy for nothing (CVE-2024-53981, others).
            raise MultipartError("The form holds too much that belongs to no part: send nothing outside its parts")

    def _end_part(self) -> None:
        if self._content_left:
            raise MultipartError(
                "A part of the form is shorter than its Content-Length: correct that header or leave it out"
            )
        self._stray_bytes = 0
        self.ends_part = False

    def _safe_end(self, data: bytes, at: int) -> int:
        """Return where the certain content ends: bytes that may begin a boundary do not count yet."""
        start = data.rfind(b"\r", max(at, len(data) - len(self._delimiter) + 1))
        return start if start >= 0 and self._delimiter.startswith(data[start:]) else len(data)

    def _count(self, size: int) -> None:
        if self._content_left is not None:
            self._content_left -= size
            if self._content_left < 0:
                raise MultipartError(
                    "A part of the form is longer than its Content-Length: correct that header or leave it out"
                )

    def _step(self, data: bytes, at: int) -> int:
        """Skip what is neither header nor content, and return where it ends."""
        if self._state is _State.PREAMBLE:
            return self._pass_preamble(data, at)
        if self._state is _State.BOUNDARY:
            return self._pass_boundary(data, at)
        # RFC 2046 lets a part end with its headers; the empty line then belongs to the boundary. Other parsers take
        # the boundary for content.
        if len(data) - at < len(self._delimiter) and self._delimiter.startswith(data[at:]):
            return at
        if data.startswith(self._delimiter, at):
            raise MultipartError(
                "A part of the form ends with its headers: send an empty line and the content, even an empty one"
            )
        self._state = _State.CONTENT
        return at + 2

    def _pass_preamble(self, data: bytes, at: int) -> int:
        found = data.find(self._delimiter, at)
        if found >= 0:
            self._state = _State.BOUNDARY
            return found + len(self._delimiter)
        return self._safe_end(data, at)

    def _pass_boundary(self, data: bytes, at: int) -> int:
        """Skip the rest of a boundary's line, which may only hold blanks (RFC 2046 §5.1.1, "transport padding")."""
        if data.startswith(b"--", at):
            self._state = _State.END
            return at + 2
        end = data.find(b"\r\n", at)
        padding = data[at:] if end < 0 else data[at:end]
        if end < 0 and padding in {b"", b"-", b"\r"}:
            return at
        if len(padding) > self._max_header_bytes:
            raise MultipartLimitError(
                "The form is too large: there is too much behind a boundary; send a line break there"
            )
        if padding.strip(b" \t") not in ({b"", b"\r"} if end < 0 else {b""}):
            raise MultipartError("There is something behind a boundary of the form: send a line break there")
        if end < 0:
            return at
        if self._parts_left == 0:
            raise MultipartLimitError("The form is too large: it has too many parts; send fewer fields and files")
        self._parts_left -= 1
        self._lines = []
        self._state = _State.HEADERS
        return end + 2

    def _read_header(self, data: bytes, at: int) -> tuple[int, PartHead | None]:
        """Read a header line and return where it ends; after the last one, return the parsed head as well."""
        end = data.find(b"\n", at)
        if (len(data) if end < 0 else end) - at > self._max_header_bytes + 1:
            raise MultipartLimitError(
                "The form is too large: a header is too long; shorten the name of the field or file"
            )
        if end < 0:
            return at, None
        line = data[at : end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise MultipartError("A header of the form holds half a line break: end each line with CR LF")
        if line != b"\r\n":
            if len(self._lines) >= self._max_headers:
                raise MultipartLimitError(
                    "The form is too large: a part has too many headers; send Content-Disposition and Content-Type only"
                )
            self._lines.append(line[:-2])
            return end + 1, None
        headers = tuple([_header(each) for each in self._lines])
        head = _read_head(headers)
        self._content_left = _content_length(headers)
        self._state = _State.GLUE
        return at, head  # the line break may belong to a boundary


def _header(line: bytes) -> tuple[str, str]:
    """Return name and value of a header.

    Raises:
        MultipartError: If it is malformed, or continues the line before: readers that do not unfold see another header.
    """
    field, colon, value = line.partition(b":")
    if not colon or _FIELD_NAME.fullmatch(field) is None:
        raise MultipartError(
            "A header of the form has no name, or goes on in the next line: write each as Name: value on one line"
        )
    name = field.decode("ascii").title()
    try:
        return name, value.decode("utf-8").strip(" \t")
    except UnicodeDecodeError as error:
        if name in _SINGLE_HEADERS:
            raise MultipartError(
                "A header of the form is not UTF-8: encode the names of fields and files as UTF-8"
            ) from error
        return name, value.decode("utf-8", "replace").strip(" \t")  # not used


def _read_head(headers: tuple[tuple[str, str], ...]) -> PartHead:
    """Return the head of a part, parsed from its headers.

    Raises:
        MultipartError: If they are ambiguous, or do not name the part.
    """
    names = [name for name, _ in headers if name in _SINGLE_HEADERS]
    if len(names) != len(set(names)):
        raise MultipartError("A part of the form has a header twice: send each only once")
    known = dict(headers)
    # RFC 7578 section 4.7: senders do not use it, and decoding it was an attack vector (CVE-2026-33033).
    if known.get("Content-Transfer-Encoding", "binary").lower() not in _PLAIN_ENCODINGS:
        raise MultipartError(
            "A part of the form has a transfer encoding: send its content as it is, without Content-Transfer-Encoding"
        )
    name, filename = _disposition(known.get("Content-Disposition"))
    return part_head(name, filename, headers)


def part_head(name: str | None, filename: str | None, headers: tuple[tuple[str, str], ...]) -> PartHead:
    """Return the head of a part, with its name checked and its headers cleaned.

    Args:
        name: Name of the field.
        filename: The client's filename.
        headers: Headers of the part, with names such as ``Content-Type``.

    Raises:
        MultipartError: If it has no name, or one that contains line breaks.
    """
    if not name:
        raise MultipartError("A part of the form has no name: add name=... to its Content-Disposition")
    if _CONTROL.search(name):
        raise MultipartError("The name of a part holds a control character: remove it")
    type_ = dict(headers).get("Content-Type")
    shown = tuple([(field, _CONTROL.sub("\ufffd", value)) for field, value in headers])
    return PartHead(name, filename, declared_type(type_), declared_charset(type_), shown)


def _disposition(value: str | None) -> tuple[str | None, str | None]:
    """Return name and filename of a part. ``filename*`` is not allowed in forms (RFC 7578 §4.2)."""
    start = _FORM_DATA.match(value or "")
    if value is None or start is None:
        raise MultipartError("A part of the form has no Content-Disposition of form-data: write form-data; name=...")
    found: dict[str, str] = {}
    at = start.end()
    while (parameter := _DISPOSITION.match(value, at)) is not None:
        name, quoted, token = parameter.groups()
        if name.lower() in found:
            raise MultipartError("A part of the form gives its name or file name twice: give each once")
        # A reader of quoted pairs (RFC 822) takes this for a quote inside the name and reads on.
        if quoted is not None and quoted.endswith("\\"):
            raise MultipartError("A name in the form has a backslash before a quote: write a quote as %22")
        found[name.lower()] = _decoded(token if quoted is None else quoted)
        at = parameter.end()
    if _END.fullmatch(value, at) is None:
        raise MultipartError(
            "A part of the form has a Content-Disposition that cannot be read: write form-data; name=...; filename=..."
        )
    return found.get("name"), found.get("filename")


def _decoded(text: str) -> str:
    if (word := _ENCODED_WORD.fullmatch(text)) is not None:
        try:
            return binascii.a2b_base64(word[1], strict_mode=True).decode("utf-8")
        except ValueError:
            return text  # it only looks like an encoded word
    return _PERCENTS.sub(lambda found: _PERCENT[found[0]], text) if "%" in text else text


def _content_length(headers: Sequence[tuple[str, str]]) -> int | None:
    value = dict(headers).get("Content-Length")
    if value is not None and _LENGTH.fullmatch(value) is None:
        raise MultipartError("The Content-Length of a part is not a number: correct that header or leave it out")
    return None if value is None else int(value)


def _parameters(header: str) -> Iterator[tuple[str, str]]:
    for found in _PARAMETER.finditer(header):
        yield found.group(1).lower(), found.group(2)
