"""Configures downloads, and the servers in front of the application that send files themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import quote

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.sansio.active_types import INLINE_TYPES, SERVED_TYPES, is_active, type_name
from litestar_filestore.sansio.ranges import MAX_RANGES

if TYPE_CHECKING:
    from litestar_filestore.sansio.ranges import ByteRange

__all__ = (
    "Delivery",
    "DownloadConfig",
    "FrontServer",
    "Nginx",
    "ResourcePolicy",
    "XSendfile",
)


class FrontServer(Protocol):
    """A server that supplies the body; the rest of the answer comes from the application."""

    def for_path(self, path: Path) -> dict[str, str] | None:
        """Return the headers that make the server send a local file, ``None`` if the server cannot reach it."""
        ...

    def for_url(self, url: str, part: ByteRange | None) -> dict[str, str] | None:
        """Return the headers that make the server fetch a signed URL, ``None`` if the server cannot do that.

        Args:
            url: URL of the object.
            part: The requested part, ``None`` for the whole object.
        """
        ...


@dataclass(frozen=True)
class Nginx:
    """nginx by ``X-Accel-Redirect``. Its configuration is in the documentation, in "nginx in front"."""

    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Internal locations by the folder that each one serves, as in ``{"/srv/documents": "/_files/documents/"}``."""
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
            raise ConfigurationError(f'Nginx(remote=) must be a location that begins with "/", not {self.remote!r}')
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
        """Return the internal location, with the URL and the range in separate headers.

        nginx decodes an address in X-Accel-Redirect, which would break its signature.
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
            raise ConfigurationError(f"XSendfile(roots=) must be absolute folders, not {self.roots!r}")
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


Delivery: TypeAlias = Literal["auto", "stream", "redirect", "accel", "pathsend"]
"""How the bytes of an object reach the client.

``stream``: the application sends them. ``redirect``: the store sends them, from a signed URL. ``accel``: the server in
front sends them; it is told where they are. ``pathsend``: the ASGI server sends them, from a local file. ``auto``: the
cheapest of these that gives the same answer, header for header, which a redirect does not.
"""

ResourcePolicy: TypeAlias = Literal["same-origin", "same-site", "cross-origin"]
"""Sites that may embed a file: value of ``Cross-Origin-Resource-Policy``."""


@dataclass(frozen=True)
class DownloadConfig:
    """Defaults of `FileDownload`."""

    delivery: Delivery = "auto"
    """How bytes reach the client."""
    front_server: FrontServer | None = None
    """The server in front of the application that sends files itself. ``accel`` needs it, ``auto`` uses it. Set it only
    if every request comes through that server: any other client would see a path and get no content."""
    cache_control: str = "private, no-cache"
    """Value of ``Cache-Control``. By default, browsers may keep a copy but have to revalidate it: the guards run again,
    and an unchanged file costs a 304."""
    cross_origin_resource_policy: ResourcePolicy = "same-origin"
    """Pages that may embed files."""
    inline_types: frozenset[str] = INLINE_TYPES
    """Types that browsers may show. You can add ``application/pdf``, but no type that can run a script."""
    served_types: frozenset[str] = SERVED_TYPES
    """Types that are served as they are; all others are served as ``application/octet-stream``. You can add and remove
    types, but cannot add those that can run a script: HTML, XML and SVG, JavaScript, style sheets."""
    max_ranges: int = MAX_RANGES
    """Largest number of ranges in one answer; a request for more gets the whole object."""
    redirect_seconds: int = 300
    """Lifetime of a signed URL in seconds."""
    first_byte_seconds: float | None = 15.0
    """Seconds to wait for the store before the answer begins, then 503; ``None`` waits as long as the backend does."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further headers of every download; they replace the protective ones of the same name."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: If a type is active or malformed, an inline type is not served as itself, or a number
                is out of bounds.
        """
        for name in (*self.served_types, *self.inline_types):
            if name != type_name(name) or is_active(name):
                raise ConfigurationError(
                    f"The type {name!r} cannot be served as such or shown in place: it could run scripts, or it is not "
                    'written like "model/stl", in lower case and without parameters. Leave it out, or correct it'
                )
        if hidden := sorted(self.inline_types - self.served_types):
            raise ConfigurationError(f"inline_types may only hold what served_types holds too: add {hidden} there")
        if not 1 <= self.max_ranges <= 1000:  # noqa: PLR2004  # as Apache's and nginx's upper limits
            raise ConfigurationError(f"max_ranges must be from 1 to 1,000, not {self.max_ranges}")
        if not 1 <= self.redirect_seconds <= 604_800:  # noqa: PLR2004  # seven days: the longest that S3 signs
            raise ConfigurationError(f"redirect_seconds must be from 1 to 604,800, not {self.redirect_seconds}")
        if self.first_byte_seconds is not None and not self.first_byte_seconds > 0:
            raise ConfigurationError(
                f"first_byte_seconds must be more than 0, or None, not {self.first_byte_seconds!r}"
            )
        if self.delivery == "accel" and self.front_server is None:
            raise ConfigurationError(
                'delivery="accel" needs front_server=: give Nginx(...), XSendfile(...) or the like'
            )
