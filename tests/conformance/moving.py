"""Makes the backends of `test_moving`, in any process."""

from __future__ import annotations

from pathlib import Path

from litestar_filestore import LocalBackend, MovingBackend

__all__ = ("moving_backend",)


def moving_backend(root: str, prefix: str | None = None) -> MovingBackend:
    """Make a backend whose objects move from one folder to another, each with the prefix."""
    source, target = (LocalBackend(name, Path(root) / name, prefix=prefix, fsync=False) for name in ("old", "new"))
    return MovingBackend("conformance", source=source, target=target)
