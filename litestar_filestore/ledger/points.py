"""Named places between the steps of the protocol, where tests kill the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "on_point",
    "reach",
)

_hook: Callable[[str], None] | None = None


def on_point(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of each point that is reached, for crash tests; ``None`` stops it."""
    global _hook  # noqa: PLW0603  # one hook per process, set by a test's child process
    _hook = hook


def reach(point: str) -> None:
    """Report that a point is reached."""
    if _hook is not None:
        _hook(point)
