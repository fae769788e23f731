"""`LinkConfig`: the form and the life of an application's links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar_filestore.core.backend import MAX_EXPIRES_SECONDS
from litestar_filestore.errors import ConfigurationError

__all__ = ("LinkConfig",)

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def _open_to_holders() -> dict[str, Any]:
    return {"exclude_from_auth": True, "exclude_from_csrf": True}


@dataclass
class LinkConfig:
    """Configuration of signed links. Times are in seconds."""

    path: str = "/filestore"
    """Where the application serves its links, below which nothing else may be."""
    public_url: str | None = None
    """``https://files.example.com``, with a path if the application does not see it: what links begin with, whether
    that is the application, a proxy or a content delivery network in front of it. ``None`` makes links that begin with
    a path; they work on the pages of the application. It is never taken from a request, whose ``Host`` anybody can
    choose. The path of the application (``Litestar(path=...)``) and `path` follow it."""
    expires_in: int = 300
    """Longest life of a link to download where the caller names none."""
    upload_expires_in: int = 900
    """Life of a link to upload where the caller names none."""
    reference_expires_in: int = 1800
    """Life of a reference where the caller names none. An uploaded file that no row takes is swept after an hour."""
    max_expires_in: int = MAX_EXPIRES_SECONDS
    """Longest life that a caller may ask for, at most 604,800 (7 days)."""
    window_seconds: int = 60
    """Links to one file that are made within such a time are the same, so that caches recognise them. Their life ends
    at a multiple of it, so it is that much shorter than asked for at most, and never by more than half."""
    max_upload_bytes: int = 25 * 1024 * 1024
    """Largest upload through a link where neither the caller nor the backend has a limit."""
    native: bool = True
    """Whether `url_for` prefers the store's own links where the store signs the headers of its answers (S3)."""
    cache: Literal["private", "public", "no-store"] = "private"
    """Caches that may keep the file of a link while it lives: the browser's, those on the way as well, or none."""
    opt: Mapping[str, Any] = field(default_factory=_open_to_holders)
    """``opt`` of the routes. By default it excludes them from Litestar's authentication and CSRF middleware: who holds
    a link has been let in already. Guards of the application apply all the same."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: If one cannot work.
        """
        if _PATH.fullmatch(self.path) is None:
            raise ConfigurationError(f"LinkConfig.path must be a path such as '/filestore', not {self.path!r}")
        if self.public_url is not None:
            self.public_url = _checked_url(self.public_url)
        if not 1 <= self.max_expires_in <= MAX_EXPIRES_SECONDS:
            raise ConfigurationError(
                f"LinkConfig.max_expires_in must be 1 to {MAX_EXPIRES_SECONDS} seconds, not {self.max_expires_in!r}"
            )
        for name in ("expires_in", "upload_expires_in", "reference_expires_in"):
            if not 1 <= getattr(self, name) <= self.max_expires_in:
                raise ConfigurationError(
                    f"LinkConfig.{name} must be 1 to {self.max_expires_in} seconds (max_expires_in), not "
                    f"{getattr(self, name)!r}"
                )
        for name in ("window_seconds", "max_upload_bytes"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"LinkConfig.{name} must be at least 1, not {getattr(self, name)!r}")

    @property
    def base(self) -> str:
        """The beginning of the links of an application without a path, up to the slash before the token."""
        return f"{self.public_url or ''}{self.path}"


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigurationError(
            f"LinkConfig.public_url must be a URL such as 'https://files.example.com', not {url!r}"
        )
    return url.rstrip("/")
