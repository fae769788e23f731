"""Gives readings the bytes that they request, while the content passes once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from litestar_filestore.core.rule import Piece, Wanted

if TYPE_CHECKING:
    from litestar_filestore.core.rule import Reading
    from litestar_filestore.core.types import Block

__all__ = ("MOST_BYTES", "Passage")

ResultT = TypeVar("ResultT")

MOST_BYTES = 256 * 1024
"""Most bytes that a reading gets at once."""
_LOCAL_HEADER = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_MEMBER_BYTES = 32 * 1024
_MOST_MEMBERS = 8
_SLACK_BYTES = 64 * 1024


class Passage(Generic[ResultT]):
    """Content that passes one reading.

    What the reading gets depends only on the content, never on the pieces in which it came: a byte that has passed is
    gone, even if it happens to be still in memory. At most `MOST_BYTES` are held of each of these: the first bytes, a
    piece, the last bytes and members of an archive.
    """

    __slots__ = (
        "_buffer", "_from", "_head", "_last", "_members", "_position", "_reading", "_seen_all", "_tail",
        "result", "wanted",
    )  # fmt: skip

    def __init__(self, reading: Reading[ResultT], head: bytes) -> None:
        """Begin with the first bytes, which stay available.

        Args:
            reading: The reading that requests bytes.
            head: The first bytes of the content, always the same number of them, or the whole content.
        """
        self._reading = reading
        self._head = head
        self._last = Piece(0, head)
        self._position = len(head)
        self._from = 0
        self._buffer = bytearray()
        self._tail = bytearray()
        self._members: _Members | None = None
        self._seen_all = False
        self.result: ResultT | None = None
        """Result of the reading, once it has ended."""
        self.wanted: Wanted | None = None
        """Bytes that it waits for and that have not passed yet; ``None`` once it has ended."""
        self._answer(None)

    def feed(self, block: Block) -> None:
        """Pass on the next bytes of the content."""
        start = self._position
        self._position += len(block)
        while (wanted := self.wanted) is not None:
            if wanted.offset < 0:
                self._keep(bytes(memoryview(block)[max(self._last.offset + len(self._last.data) - start, 0) :]))
                return
            if wanted.offset >= self._position:
                return
            self._collect(bytes(memoryview(block)[wanted.offset - start :][: wanted.length]), wanted)

    def end(self) -> None:
        """Signal the end of the content, which ends the reading."""
        while (wanted := self.wanted) is not None:
            if wanted.offset < 0:
                tail = (self._last.data + self._tail)[wanted.offset :]
                self._seen_all = True
                self._finish_end(self._position - len(tail), tail)
            else:
                self._finish(Piece(self._from, bytes(self._buffer)))

    def give(self, piece: Piece) -> None:
        """Supply the bytes that are `wanted`, read in place; fewer if the content ends before."""
        wanted = self.wanted
        if wanted is None:
            return
        if wanted.offset < 0:
            missing = max(self._last.offset - piece.offset, 0)
            self._finish_end(piece.offset + missing, piece.data[missing:])
        else:
            self._buffer += piece.data
            self._finish(Piece(self._from, bytes(self._buffer)))

    # -- what is wanted

    def _answer(self, piece: Piece | None) -> None:
        """Let the reading go on until it requests bytes that are not available."""
        try:
            while True:
                wanted = next(self._reading) if piece is None else self._reading.send(piece)
                piece = self._open(wanted)
                if piece is None:
                    return
        except StopIteration as end:
            self.result, self.wanted = end.value, None

    def _open(self, wanted: Wanted) -> Piece | None:
        """Return the piece that satisfies a request at once; ``None`` if more bytes must come first."""
        offset, length, names = wanted
        if offset < 0:
            self.wanted = Wanted(max(offset, -MOST_BYTES), 0, names)
            self._members = _Members(names, self._last) if names else None
            return None
        length = min(length, MOST_BYTES)
        if offset + length <= len(self._head):
            return Piece(offset, self._head[offset : offset + length])
        if offset < self._last.offset:
            return self._open_passed(offset, length)
        known = self._last.data[offset - self._last.offset :][:length]
        if len(known) == length:
            return Piece(offset, known)
        self._wait(offset, known, length)
        return None

    def _open_passed(self, offset: int, length: int) -> Piece | None:
        members = self._members
        if members is None or self._seen_all:
            kept = members.kept.get(offset) if members is not None else None
            return Piece(offset, self._head[offset : offset + length] if kept is None else bytes(kept[:length]))
        self._wait(offset, b"", length)  # the last bytes were read in place, and so are members
        return None

    def _wait(self, offset: int, known: bytes, length: int) -> None:
        self._from = offset
        self._buffer = bytearray(known)
        self.wanted = Wanted(offset + len(known), length - len(known))

    def _collect(self, data: bytes, wanted: Wanted) -> None:
        self._buffer += data
        if len(data) == wanted.length:
            self._finish(Piece(self._from, bytes(self._buffer)))
        else:
            self.wanted = Wanted(wanted.offset + len(data), wanted.length - len(data))

    def _finish(self, piece: Piece) -> None:
        self._buffer = bytearray()
        self._last = piece
        self.wanted = None
        self._answer(piece)

    def _finish_end(self, offset: int, data: bytes) -> None:
        self._tail = bytearray()
        self._finish(Piece(offset if data else self._last.offset, data))

    def _keep(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > MOST_BYTES + _SLACK_BYTES:  # only now and then, because each cut moves the rest
            del self._tail[:-MOST_BYTES]
        if self._members is not None:
            self._members.feed(data)


class _Members:
    """Finds members of a ZIP archive by name as they pass, and keeps the start of each."""

    __slots__ = ("_names", "_offset", "_open", "_seam", "kept")

    def __init__(self, names: tuple[bytes, ...], seen: Piece) -> None:
        self._names = names
        self._offset = seen.offset
        self._seam = b""
        self._open: list[int] = []
        self.kept: dict[int, bytearray] = {}
        self.feed(seen.data)

    def feed(self, data: bytes) -> None:
        for offset in self._open:
            kept = self.kept[offset]
            kept += data[: _MEMBER_BYTES - len(kept)]
        self._open = [each for each in self._open if len(self.kept[each]) < _MEMBER_BYTES]
        seam, window = len(self._seam), self._seam + data
        for at in sorted(at for name in self._names for at in self._found(name, window, seam)):
            self._begin(at, window)
        self._offset += len(data)
        self._seam = window[-(_LOCAL_HEADER_BYTES + max(map(len, self._names))) :]

    def _found(self, name: bytes, window: bytes, seam: int) -> list[int]:
        found: list[int] = []
        at = window.find(name, max(seam - len(name) + 1, 0))
        while at >= 0:
            if window.startswith(_LOCAL_HEADER, max(at - _LOCAL_HEADER_BYTES, 0)) and at >= _LOCAL_HEADER_BYTES:
                found.append(at - _LOCAL_HEADER_BYTES)
            at = window.find(name, at + 1)
        return found

    def _begin(self, at: int, window: bytes) -> None:
        if len(self.kept) < _MOST_MEMBERS:
            offset = self._offset - len(self._seam) + at
            self.kept[offset] = bytearray(window[at : at + _MEMBER_BYTES])
            self._open.append(offset)
