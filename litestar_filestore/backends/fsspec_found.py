"""What file systems say about a name."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

from litestar_filestore.core.types import ObjectInfo

__all__ = ("FoundFile",)

_TIMES = ("mtime", "modified", "LastModified", "last_modified", "modify", "created")


class FoundFile:
    """What a file system says about one name: fsspec's dictionary, whose entries differ between implementations."""

    __slots__ = ("details",)

    def __init__(self, details: dict[str, Any]) -> None:
        """Wrap what fsspec's ``info`` and ``ls`` give."""
        self.details = details

    @property
    def is_file(self) -> bool:
        """Whether it is a file, not a folder, link or device."""
        return self.details.get("type") == "file"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.details.get("type") == "directory"

    @property
    def size(self) -> int:
        """Length in bytes."""
        return int(self.details.get("size") or 0)

    @property
    def modified(self) -> float | None:
        """POSIX time of the last write, where it is known."""
        return next((_posix(self.details[name]) for name in _TIMES if self.details.get(name)), None)

    @property
    def etag(self) -> str | None:
        """Entity tag with its quotes, where there is one."""
        etag = self.details.get("etag")
        if not etag:
            return None
        return str(etag) if str(etag).endswith('"') else f'"{etag}"'

    @property
    def stamp(self) -> tuple[object, ...]:
        """What differs between two versions of a file, as far as the file system tells."""
        return self.size, self.modified, self.etag

    def info(self, path: str) -> ObjectInfo:
        """Return the info of the object `path`."""
        return ObjectInfo(key=path, size=self.size, last_modified=self.modified, etag=self.etag)


def _posix(value: Any) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, (int, float)):
        return float(value)
    with contextlib.suppress(ValueError):
        # FTP, RFC 3659 §2.3: always UTC.
        return datetime.strptime(str(value).partition(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(str(value)).timestamp()
    return None
