"""Configures the form and the lifetime of an application's links."""

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
    """Path below which the application serves its links; nothing else may be there."""
    public_url: str | None = None
    """What links begin with, for example ``https://files.example.com``: the address of the application, or of a proxy
    or content delivery network in front of it. Add a path if the application does not see it. ``None`` makes links that
    begin with a path; they work on the pages of the application. It is never taken from a request, because clients
    choose the ``Host``. The path of the application (``Litestar(path=...)``) and `path` follow it. URLs of resumable
    uploads begin with it as well."""
    expires_in: int = 300
    """Longest life of a download link if the caller names none."""
    upload_expires_in: int = 900
    """Life of an upload link if the caller names none."""
    reference_expires_in: int = 1800
    """Life of a reference if the caller names none. An uploaded file that no row takes is swept after an hour."""
    max_expires_in: int = MAX_EXPIRES_SECONDS
    """Longest life that a caller may ask for, at most 604,800 (7 days)."""
    window_seconds: int = 60
    """Links to one file that are made within this time are the same, so that caches recognise them. They expire at a
    multiple of it, so they live up to this much shorter than asked for, but at least half as long."""
    max_upload_bytes: int = 25 * 1024 * 1024
    """Largest upload through a link if neither the caller nor the backend has a limit."""
    native: bool = True
    """Whether `url_for` prefers the store's own links if the store signs the headers of its answers (S3)."""
    cache: Literal["private", "public", "no-store"] = "private"
    """Caches that may keep the file while the link lives: only the browser's, shared ones as well, or none."""
    opt: Mapping[str, Any] = field(default_factory=_open_to_holders)
    """``opt`` of the routes. By default it excludes them from Litestar's authentication and CSRF middleware: the link
    itself is the permission. Guards of the application still apply."""

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
        """The beginning of links if the application has no path, up to the slash before the token."""
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
