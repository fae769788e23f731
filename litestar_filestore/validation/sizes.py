"""Sizes as people write them: ``"25 MB"``."""

from __future__ import annotations

import re
from typing import cast

from litestar_filestore.errors import ConfigurationError

__all__ = ("format_size", "parse_size", "too_large_message")

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
        raise ConfigurationError(f"A size is a number of bytes from 0 on, not {size!r}")
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
