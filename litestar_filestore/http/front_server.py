"""Servers in front of the application that send files themselves, once they are told which."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.sansio.ranges import ByteRange

__all__ = ("FrontServer", "Nginx", "XSendfile")


class FrontServer(Protocol):
    """A server that takes the place of the body; everything else of the answer is the application's."""

    def for_path(self, path: Path) -> dict[str, str] | None:
        """Return the headers that have a local file sent, ``None`` if the server does not reach it."""
        ...

    def for_url(self, url: str, part: ByteRange | None) -> dict[str, str] | None:
        """Return the headers that have a signed URL fetched, ``None`` if the server does not do that.

        Args:
            url: Where the object is.
            part: What of it is wanted, ``None`` for all of it.
        """
        ...


@dataclass(frozen=True)
class Nginx:
    """nginx by ``X-Accel-Redirect``. Its configuration is in the documentation, in "nginx in front"."""

    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Internal locations by the folder that each stands for, as in ``{"/srv/documents": "/_files/documents/"}``."""
    remote: str | None = None
    """Internal location that fetches the URL in ``X-Filestore-Url``, for objects in a store that signs URLs."""

    def __post_init__(self) -> None:
        """Resolve the folders.

        Raises:
            ConfigurationError: If a location is not a path that ends with a slash, or a folder is relative.
        """
        for folder, location in self.files.items():
            if not Path(folder).is_absolute() or not (location.startswith("/") and location.endswith("/")):
                raise ConfigurationError(
                    'Nginx(files=) maps absolute folders to locations that begin and end with "/": '
                    f"{folder!r}: {location!r} does not"
                )
        if self.remote is not None and not self.remote.startswith("/"):
            raise ConfigurationError(f'Nginx(remote=) is a location that begins with "/", not {self.remote!r}')
        # Local backends name their files by the real path of their root.
        object.__setattr__(self, "files", {str(Path(each).resolve()): to for each, to in self.files.items()})

    def for_path(self, path: Path) -> dict[str, str] | None:
        """Return the internal address of a file below one of the folders."""
        for folder, location in self.files.items():
            if path.is_relative_to(folder):
                # nginx decodes the address once, so "%2e%2e" in a key stays what it is.
                return {"x-accel-redirect": location + quote(path.relative_to(folder).as_posix())}
        return None

    def for_url(self, url: str, part: ByteRange | None) -> dict[str, str] | None:
        """Return the internal location, with the URL and the range in headers of their own.

        An address in X-Accel-Redirect is decoded, which a signature over it does not survive.
        """
        if self.remote is None:
            return None
        headers = {"x-accel-redirect": self.remote, "x-filestore-url": url}
        if part is not None:
            headers["x-filestore-range"] = f"bytes={part.start}-{part.end - 1}"
        return headers


@dataclass(frozen=True)
class XSendfile:
    """Apache with mod_xsendfile, Lighttpd and others by ``X-Sendfile``: local files only."""

    roots: tuple[str, ...]
    """Folders that the server may send from."""

    def __post_init__(self) -> None:
        """Resolve the folders.

        Raises:
            ConfigurationError: If a folder is relative.
        """
        if not all(Path(root).is_absolute() for root in self.roots):
            raise ConfigurationError(f"XSendfile(roots=) are absolute folders, not {self.roots!r}")
        object.__setattr__(self, "roots", tuple(str(Path(root).resolve()) for root in self.roots))

    def for_path(self, path: Path) -> dict[str, str] | None:
        """Return the path of a file below one of the roots."""
        if not any(path.is_relative_to(root) for root in self.roots):
            return None
        return {"x-sendfile": quote(str(path))}

    def for_url(self, url: str, part: ByteRange | None) -> dict[str, str] | None:
        """Return ``None``: these servers fetch nothing."""
        del url, part
        return None
