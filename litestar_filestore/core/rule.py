"""Rules for files: the contract between those who declare them and those who enforce them.

Rules stand on columns, form fields and in configurations; requests and sessions enforce them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec

__all__ = (
    "Answer",
    "Candidate",
    "FileRule",
    "Piece",
    "Reading",
    "Rule",
    "Wanted",
    "max_bytes",
    "max_files",
)

ResultT = TypeVar("ResultT")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A file that asks to be stored, as far as it is known."""

    filename: str
    """Name for people. The client's, so good for its extension only."""
    content_type: str
    """Media type told from the content, lower case and without parameters."""
    declared_type: str | None = None
    """The sender's word for the type. A claim, nothing more."""
    head: bytes = b""
    """The first bytes: all there are, or at least as many as the rules asked for."""
    size: int | None = None
    """Length in bytes; ``None`` while more may follow."""


Answer: TypeAlias = str | None
"""``None`` accepts. A text refuses; it is shown to the person who sent the file."""


class Wanted(NamedTuple):
    """Bytes that a `Reading` asks for, out of content that passes once."""

    offset: int
    """Offset of the first one. Below zero: so many of the last bytes of the content; `length` is ignored then."""
    length: int
    """Number of bytes. There are fewer where the content ends."""
    names: tuple[bytes, ...] = ()
    """Members of a ZIP archive that are worth keeping while the last bytes are waited for, as they lie before them."""


class Piece(NamedTuple):
    """Bytes that a `Reading` is sent."""

    offset: int
    """Offset of the first one in the content."""
    data: bytes
    """The bytes. Fewer than wanted where the content ends, none where they have passed already."""


Reading: TypeAlias = Generator[Wanted, Piece, ResultT]
"""Reads in content whose bytes pass once: yields what it wants and is sent it, in the order of the content.

What it wants may begin in the first bytes, which are kept, in the piece before, or behind that. After the last bytes it
may go back to members of an archive that it has named. It runs on the event loop and on hostile input: bound how often
it asks, and what it does between two questions.
"""


class FileRule:
    """A rule that asks for more than the first bytes, or tells others what it allows. Immutable and comparable.

    `at_head` and `at_end` may be coroutine functions, and may raise `FileRejectedError` instead of answering.
    """

    max_bytes: int | None = None
    """Longest file allowed in bytes. Counted while the file is read, so that the rest is never stored."""
    max_files: int | None = None
    """Largest number of files in a list."""
    head_bytes: int = 0
    """Number of first bytes that `at_head` needs."""
    judges_type: bool = False
    """Whether it goes by the media type; where one does, the file is kept under the type that its content has."""

    def at_head(self, file: Candidate) -> Answer | Awaitable[Answer]:
        """Judge by name, type and first bytes, before anything is stored."""
        del file
        return None

    def read(self, file: Candidate) -> Reading[Answer] | None:
        """Return what looks at the content further on, for what the first bytes leave open; ``None`` for nothing.

        A refusal ends the upload when it is known, at the latest when all bytes have been seen and before the object
        is finished.
        """
        del file
        return None

    def at_end(self, file: Candidate) -> Answer | Awaitable[Answer]:
        """Judge when the size is known, before the object is finished."""
        del file
        return None


Rule: TypeAlias = FileRule | Callable[[Candidate], Answer | Awaitable[Answer]]
"""A `FileRule`, or any function or coroutine function that is asked with the first bytes, as `FileRule.at_head` is."""


def max_bytes(rules: Iterable[Rule]) -> int | None:
    """Return how long a file may be by these rules in bytes, inclusive; ``None`` for any length."""
    limits = (rule.max_bytes for rule in rules if isinstance(rule, FileRule))
    return min((each for each in limits if each is not None), default=None)


def max_files(rules: Iterable[Rule]) -> int | None:
    """Return how many files a list may hold by these rules, inclusive; ``None`` for any number."""
    limits = (rule.max_files for rule in rules if isinstance(rule, FileRule))
    return min((each for each in limits if each is not None), default=None)
