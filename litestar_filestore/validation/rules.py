"""The rules that come with the package, and sizes as people write them: ``"25 MB"``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from litestar_filestore.core.rule import Candidate, FileRule, Rule
from litestar_filestore.errors import ConfigurationError, FileTooLargeError, FileTypeNotAllowedError
from litestar_filestore.validation.media_types import UNKNOWN, agree, canonical, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = (
    "ContentTypes",
    "Extensions",
    "MaxFiles",
    "MaxSize",
    "MinSize",
    "effective_rules",
    "format_size",
    "parse_size",
    "too_large_message",
)


@dataclass(frozen=True, init=False)
class MaxSize(FileRule):
    """Limits the size of each file; counted while it is read, so nothing beyond it is stored."""

    max_bytes: int | None

    def __init__(self, size: int | str) -> None:
        """Allow files of up to `size`: bytes, or text such as ``"25 MB"`` (powers of 1,000) or ``"25 MiB"``.

        Raises:
            ConfigurationError: If `size` is not a size.
        """
        object.__setattr__(self, "max_bytes", parse_size(size))

    def at_end(self, file: Candidate) -> str | None:
        """Refuse what is too long."""
        if file.size is not None and self.max_bytes is not None and file.size > self.max_bytes:
            raise FileTooLargeError(too_large_message(self.max_bytes), max_bytes=self.max_bytes)
        return None


@dataclass(frozen=True, init=False)
class MinSize(FileRule):
    """Refuses files that are shorter. ``MinSize(1)`` refuses empty ones, which are files otherwise."""

    min_bytes: int

    def __init__(self, size: int | str) -> None:
        """Allow files from `size` on; see `MaxSize`.

        Raises:
            ConfigurationError: If `size` is not a size.
        """
        object.__setattr__(self, "min_bytes", parse_size(size))

    def at_head(self, file: Candidate) -> str | None:
        """Refuse what is known to be too short already."""
        return self.at_end(file) if file.size is not None else None

    def at_end(self, file: Candidate) -> str | None:
        """Refuse what is too short."""
        if file.size is None or file.size >= self.min_bytes:
            return None
        if file.size == 0:
            return "The file is empty"
        return f"The file is smaller than the {format_size(self.min_bytes)} that are needed"


@dataclass(frozen=True, init=False)
class ContentTypes(FileRule):
    """Allows files of these media types only. The type is told from the content, and the name must not belie it."""

    patterns: tuple[str, ...]
    judges_type = True

    def __init__(self, *patterns: str) -> None:
        """Allow types.

        Args:
            *patterns: ``"application/pdf"``, ``"image/*"``; compared as a whole, without parameters.

        Raises:
            ConfigurationError: If a pattern is no media type, or there is none.
        """
        if not patterns or not all(_is_type(each) for each in patterns):
            raise ConfigurationError(f"ContentTypes takes media types such as 'image/*', not {patterns!r}")
        object.__setattr__(self, "patterns", tuple(dict.fromkeys(canonical(each) for each in patterns)))

    def at_head(self, file: Candidate) -> str | None:
        """Refuse other types, and names that belie the content."""
        if not any(matches(file.content_type, pattern) for pattern in self.patterns):
            raise FileTypeNotAllowedError(
                f"Files of type {file.content_type} are not allowed here, only {_list(self.patterns)}"
                if file.content_type != UNKNOWN
                else f"The type of the file is unknown: send one of type {_list(self.patterns)}"
            )
        _check_agreement(file)
        return None


@dataclass(frozen=True, init=False)
class Extensions(FileRule):
    """Allows files whose names end in one of these, and whose content is of the type that the extension says."""

    extensions: tuple[str, ...]
    judges_type = True

    def __init__(self, *extensions: str) -> None:
        """Allow extensions.

        Args:
            *extensions: ``".pdf"`` or ``"pdf"``, also ``".tar.gz"``; upper and lower case are the same.

        Raises:
            ConfigurationError: If there is none, or one is empty.
        """
        dotted = tuple(dict.fromkeys("." + each.lower().lstrip(".") for each in extensions))
        if not dotted or "." in dotted:
            raise ConfigurationError(f"Extensions takes extensions such as '.pdf', not {extensions!r}")
        object.__setattr__(self, "extensions", dotted)

    def at_head(self, file: Candidate) -> str | None:
        """Refuse other extensions, and content that is not what the extension says."""
        name = file.filename.lower()
        if not any(name.endswith(each) and len(name) > len(each) for each in self.extensions):
            raise FileTypeNotAllowedError(f"The name of the file has to end in {_list(self.extensions)}")
        _check_agreement(file)
        return None


@dataclass(frozen=True, init=False)
class MaxFiles(FileRule):
    """Limits how many files a list holds. Says nothing about a single one."""

    max_files: int | None

    def __init__(self, count: int) -> None:
        """Allow up to `count` files.

        Raises:
            ConfigurationError: If it is less than one.
        """
        if count < 1:
            raise ConfigurationError(f"MaxFiles takes a number of at least 1, not {count}")
        object.__setattr__(self, "max_files", count)


def effective_rules(*levels: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules that hold, of several places that declare some, the nearest first.

    A nearer rule stands in for farther ones of its class: a field's `MaxSize` for the column's. Functions are of no
    class, so all of them hold.
    """
    result: list[Rule] = []
    for level in levels:
        known = {type(rule) for rule in result if isinstance(rule, FileRule)}
        result += [rule for rule in level if type(rule) not in known and rule not in result]
    return tuple(result)


def _is_type(pattern: str) -> bool:
    kind, slash, subtype = pattern.partition("/")
    return bool(kind and slash and subtype) and "/" not in subtype and not kind.startswith("*")


def _check_agreement(file: Candidate) -> None:
    if not agree(file.filename, file.content_type):
        raise FileTypeNotAllowedError(
            f"The name of the file does not fit its content, which is of type {file.content_type}: rename the file"
            if file.content_type != UNKNOWN
            else "The content of the file is not what its name says: correct the extension, or send another file"
        )


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"


# -- sizes

_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?(B|[kKMGT]B|[KMGT]iB)")
_UNITS: dict[str, int] = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}

_LARGEST_FIRST = sorted(((unit, factor) for unit, factor in _UNITS.items() if factor > 1), key=lambda each: -each[1])


def parse_size(size: int | str) -> int:
    """Return a size in bytes.

    Args:
        size: Bytes, or a number with the unit ``B``, ``KB``, ``MB``, ``GB``, ``TB`` (powers of 1,000) or ``KiB``,
            ``MiB``, ``GiB``, ``TiB`` (powers of 1,024): ``"25 MB"``, ``"1.5 GiB"``.

    Raises:
        ConfigurationError: For anything else, and below zero.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size.strip())
        if found is None:
            raise ConfigurationError(f"{size!r} is not a size such as '25 MB' or '1.5 GiB'")
        whole, fraction, unit = cast("tuple[str, str | None, str]", found.groups())
        factor = _UNITS[unit.replace("k", "K")]
        return int(whole) * factor + int((fraction or "").ljust(3, "0")) * factor // 1000
    if isinstance(size, bool) or size < 0:
        raise ConfigurationError(f"A size must be 0 bytes or more, not {size!r}")
    return size


def format_size(size: int) -> str:
    """Return a size for people, exact where it was declared in one unit and rounded down otherwise."""
    for unit, factor in _LARGEST_FIRST:
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    decimal = next(((unit, factor) for unit, factor in _LARGEST_FIRST if "i" not in unit and size >= factor), None)
    if decimal is None:
        return "1 byte" if size == 1 else f"{size} bytes"
    unit, factor = decimal
    return f"{size * 10 // factor / 10:g} {unit}"


def too_large_message(max_bytes: int) -> str:
    """Return what to tell somebody whose file is too large."""
    return f"The file is larger than the {format_size(max_bytes)} that are allowed"
