"""The built-in rules, and sizes as people write them: ``"25 MB"``."""

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
    """Limits the size of each file. Bytes are counted while they are read, so nothing beyond the limit is stored."""

    max_bytes: int | None

    def __init__(self, size: int | str) -> None:
        """Allow files of up to `size`: bytes, or text such as ``"25 MB"`` (powers of 1,000) or ``"25 MiB"``.

        Raises:
            ConfigurationError: If `size` is not a size.
        """
        object.__setattr__(self, "max_bytes", parse_size(size))

    def at_end(self, file: Candidate) -> str | None:
        """Refuse files that are too long."""
        if file.size is not None and self.max_bytes is not None and file.size > self.max_bytes:
            raise FileTooLargeError(too_large_message(self.max_bytes), max_bytes=self.max_bytes)
        return None


@dataclass(frozen=True, init=False)
class MinSize(FileRule):
    """Refuses files that are too small. ``MinSize(1)`` refuses empty files, which are otherwise allowed."""

    min_bytes: int

    def __init__(self, size: int | str) -> None:
        """Allow files of at least `size`; see `MaxSize` for its form.

        Raises:
            ConfigurationError: If `size` is not a size.
        """
        object.__setattr__(self, "min_bytes", parse_size(size))

    def at_head(self, file: Candidate) -> str | None:
        """Refuse files that are already known to be too short."""
        return self.at_end(file) if file.size is not None else None

    def at_end(self, file: Candidate) -> str | None:
        """Refuse files that are too short."""
        if file.size is None or file.size >= self.min_bytes:
            return None
        if file.size == 0:
            return "The file is empty"
        return f"The file is smaller than the {format_size(self.min_bytes)} that are needed"


@dataclass(frozen=True, init=False)
class ContentTypes(FileRule):
    """Allows only files of these media types. The type is detected from the content, and the name must match it."""

    patterns: tuple[str, ...]
    judges_type = True

    def __init__(self, *patterns: str) -> None:
        """Allow types.

        Args:
            *patterns: ``"application/pdf"``, ``"image/*"``; compared as a whole, without parameters.

        Raises:
            ConfigurationError: If a pattern is not a media type, or there is no pattern.
        """
        if not patterns or not all(map(_is_type, patterns)):
            raise ConfigurationError(
                "ContentTypes takes media types, as in ContentTypes('application/pdf', 'image/*'), not "
                f"{_shown(patterns)}"
            )
        object.__setattr__(self, "patterns", tuple(dict.fromkeys(canonical(each) for each in patterns)))

    def at_head(self, file: Candidate) -> str | None:
        """Refuse other types, and names that do not match the content."""
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
    """Allows only files with one of these extensions, and with content of a type that the extension stands for."""

    extensions: tuple[str, ...]
    judges_type = True

    def __init__(self, *extensions: str) -> None:
        """Allow extensions.

        Args:
            *extensions: ``".pdf"`` or ``"pdf"``, also ``".tar.gz"``; case does not matter.

        Raises:
            ConfigurationError: If there is none, or one is empty.
        """
        dotted = tuple(dict.fromkeys("." + str(each).lower().lstrip(".") for each in extensions))
        if not dotted or "." in dotted or not all(map(_is_text, extensions)):
            raise ConfigurationError(
                f"Extensions takes extensions, as in Extensions('.pdf', '.tar.gz'), not {_shown(extensions)}"
            )
        object.__setattr__(self, "extensions", dotted)

    def at_head(self, file: Candidate) -> str | None:
        """Refuse other extensions, and content that does not match the extension."""
        name = file.filename.lower()
        if not any(name.endswith(each) and len(name) > len(each) for each in self.extensions):
            raise FileTypeNotAllowedError(f"The name of the file has to end in {_list(self.extensions)}")
        _check_agreement(file)
        return None


@dataclass(frozen=True, init=False)
class MaxFiles(FileRule):
    """Limits how many files a list holds. Does not check single files."""

    max_files: int | None

    def __init__(self, count: int) -> None:
        """Allow up to `count` files.

        Raises:
            ConfigurationError: If it is less than one.
        """
        if not _is_whole(count) or count < 1:
            raise ConfigurationError(f"MaxFiles takes a number of at least 1, as in MaxFiles(10), not {count!r}")
        object.__setattr__(self, "max_files", count)


def effective_rules(*levels: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules that apply if several places declare some; pass the nearest place first.

    A nearer rule replaces farther ones of its class, for example a field's `MaxSize` the column's. Functions have no
    class of their own, so all of them apply.
    """
    result: list[Rule] = []
    for level in filter(None, levels):
        known = {type(rule) for rule in result if isinstance(rule, FileRule)}
        result += [rule for rule in level if type(rule) not in known and rule not in result]
    return tuple(result)


def _shown(given: tuple[object, ...]) -> str:
    return repr(given[0]) if len(given) == 1 else repr(given)


# The arguments of rules are whatever somebody has written; type checkers see a mistake, and the program starts anyway.


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_type(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
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
        ConfigurationError: For anything else, and for negative sizes.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size.strip())
        if found is None:
            raise ConfigurationError(f"{size!r} is not a size such as '25 MB' or '1.5 GiB'")
        whole, fraction, unit = cast("tuple[str, str | None, str]", found.groups())
        factor = _UNITS[unit.replace("k", "K")]
        return int(whole) * factor + int((fraction or "").ljust(3, "0")) * factor // 1000
    if not _is_whole(size):
        raise ConfigurationError(f"A size is a whole number of bytes, or text such as '25 MB', not {size!r}")
    if size < 0:
        raise ConfigurationError(f"A size must be 0 bytes or more, not {size!r}")
    return size


def format_size(size: int) -> str:
    """Return a size for people: exact if it is a whole number of some unit, else rounded down."""
    for unit, factor in _LARGEST_FIRST:
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    decimal = next(((unit, factor) for unit, factor in _LARGEST_FIRST if "i" not in unit and size >= factor), None)
    if decimal is None:
        return "1 byte" if size == 1 else f"{size} bytes"
    unit, factor = decimal
    return f"{size * 10 // factor / 10:g} {unit}"


def too_large_message(max_bytes: int) -> str:
    """Return the message for somebody whose file is too large."""
    return f"The file is larger than the {format_size(max_bytes)} that are allowed"
