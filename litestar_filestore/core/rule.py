"""Rules for files: the contract between those who declare them and those who enforce them.

Rules are declared on columns, on form fields and in configurations; requests and sessions enforce them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import NamedTuple, TypeAlias, TypeVar, cast

import msgspec

from litestar_filestore.errors import ConfigurationError

__all__ = (
    "Answer",
    "Candidate",
    "FileRule",
    "Piece",
    "Reading",
    "Rule",
    "Wanted",
    "checked_rules",
    "max_bytes",
    "max_files",
)

ResultT = TypeVar("ResultT")


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a file that is about to be stored."""

    filename: str
    """Name for people. It comes from the client, so use only its extension."""
    content_type: str
    """Media type detected from the content, lower case and without parameters."""
    declared_type: str | None = None
    """The type that the sender declares; not verified."""
    head: bytes = b""
    """The first bytes: all there are, or at least as many as the rules need."""
    size: int | None = None
    """Length in bytes; ``None`` while more may follow."""


Answer: TypeAlias = str | None
"""``None`` accepts. A text refuses; it is shown to the person who sent the file."""


class Wanted(NamedTuple):
    """Bytes that a `Reading` requests from content that passes once."""

    offset: int
    """Offset of the first one. A negative number means that many of the last bytes; `length` is then ignored."""
    length: int
    """Number of bytes; fewer at the end of the content."""
    names: tuple[bytes, ...] = ()
    """Members of a ZIP archive that are worth keeping while the last bytes are waited for, as they lie before them."""


class Piece(NamedTuple):
    """Bytes that a `Reading` is sent."""

    offset: int
    """Offset of the first one in the content."""
    data: bytes
    """The bytes: fewer than wanted at the end of the content, none if they have passed already."""


Reading: TypeAlias = Generator[Wanted, Piece, ResultT]
"""Reads content whose bytes pass once: yields requests for bytes and is sent them, in the order of the content.

The requested bytes may begin in the first bytes, which are kept, in the previous piece, or after it. After the last
bytes it may go back to members of an archive that it has named. It runs on the event loop and on hostile input: bound
the number of requests, and the work between two of them.
"""


class FileRule:
    """A rule that needs more than the first bytes, or tells others what it allows. Immutable and comparable.

    `at_head` and `at_end` may be coroutine functions, and may raise `FileRejectedError` instead of answering.
    """

    max_bytes: int | None = None
    """Longest file allowed in bytes. Counted while the file is read, so that the rest is never stored."""
    max_files: int | None = None
    """Largest number of files in a list."""
    head_bytes: int = 0
    """Number of first bytes that `at_head` needs."""
    judges_type: bool = False
    """Whether it depends on the media type; if any rule does, the file is stored with the type of its content."""

    def at_head(self, file: Candidate) -> Answer | Awaitable[Answer]:
        """Judge by name, type and first bytes, before anything is stored."""
        del file
        return None

    def read(self, file: Candidate) -> Reading[Answer] | None:
        """Return a generator that reads on if the first bytes are not enough; ``None`` for none.

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
"""A `FileRule`, or any function or coroutine function that is called with the first bytes, like `FileRule.at_head`."""


def checked_rules(rules: object, of: str) -> tuple[Rule, ...]:
    """Return rules as a tuple.

    Args:
        rules: What somebody has declared as rules.
        of: Where, for the message.

    Raises:
        ConfigurationError: If it is no list, or something in it is no rule. Requests would find it otherwise.
    """
    if isinstance(rules, (str, bytes)) or not isinstance(rules, Iterable):
        kind = type(rules).__name__
        raise ConfigurationError(f"rules= of {of} takes a list, even for one rule, not {kind}: rules=[{kind}(...)]")
    checked = tuple(cast("Iterable[object]", rules))
    for each in checked:
        if not isinstance(each, FileRule) and not callable(each):
            raise ConfigurationError(
                f"rules= of {of} holds {each!r}, which is no rule: give rules such as MaxSize('25 MB'), or functions"
            )
        if isinstance(each, type) and issubclass(each, FileRule):
            raise ConfigurationError(
                f"rules= of {of} holds the class {each.__name__}: call it, as in {each.__name__}(...)"
            )
    return cast("tuple[Rule, ...]", checked)


def max_bytes(rules: Iterable[Rule]) -> int | None:
    """Return the largest size in bytes (inclusive) that these rules allow a file; ``None`` for any size."""
    limits = [rule.max_bytes for rule in rules if isinstance(rule, FileRule) and rule.max_bytes is not None]
    return min(limits, default=None)


def max_files(rules: Iterable[Rule]) -> int | None:
    """Return the largest number of files (inclusive) that these rules allow a list; ``None`` for any number."""
    limits = [rule.max_files for rule in rules if isinstance(rule, FileRule) and rule.max_files is not None]
    return min(limits, default=None)
