"""The URLs that name a store. obstore corrects or ignores much of what is wrong with one; here it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from litestar_filestore.core.keys import check_key
from litestar_filestore.errors import ConfigurationError, InvalidKeyError

__all__ = ("Location", "parse_url")

_BUCKET_SCHEMES = {
    "s3": "s3://bucket/folder/",
    "s3a": "s3a://bucket/folder/",
    "gs": "gs://bucket/folder/",
    "az": "az://container/folder/",
    "adl": "adl://container/folder/",
    "azure": "azure://container/folder/",
    "abfs": "abfs://container@account.dfs.core.windows.net/folder/",
    "abfss": "abfss://container@account.dfs.core.windows.net/folder/",
    "http": "http://host/folder/",
    "https": "https://host/folder/",
}
_WITH_ACCOUNT = frozenset({"abfs", "abfss"})
_FORMS = (
    "s3://bucket/folder/, gs://bucket/folder/, az://container/folder/, https://host/folder/, file:///folder/ "
    "or memory:///"
)


class Location(NamedTuple):
    """What a URL names."""

    url: str
    root: Path | None = None
    """The folder, for ``file://`` only."""


def parse_url(url: str) -> Location:
    """Check a URL.

    Raises:
        ConfigurationError: With the right form in its message.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"fs is malformed; it is a URL of the form {_FORMS}") from error
    if not parts.scheme or "://" not in url:
        raise ConfigurationError(f"fs={_shown(parts)!r} is not a URL; write one of {_FORMS}")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigurationError("fs must not hold '?' or '#': settings are options of the backend, not of the URL")
    if parts.scheme == "file":
        return Location(url, _root(parts))
    if parts.scheme == "memory":
        return _memory(parts)
    return _remote(url, parts)


def _shown(parts: SplitResult) -> str:
    """Return a URL without what may be secret in it."""
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _root(parts: SplitResult) -> Path:
    right = "write file:///absolute/folder/, with three slashes"
    if parts.netloc not in {"", "localhost"}:
        raise ConfigurationError(f"fs={_shown(parts)!r} names a host instead of a folder: {right}")
    path = unquote(parts.path)
    if path.split("/")[1:2] == ["~"]:
        raise ConfigurationError(f"'~' means nothing in a URL: {right}, for example f'file://{{Path.home()}}/uploads/'")
    if not path.strip("/"):
        raise ConfigurationError(f"fs={_shown(parts)!r} is the root of the whole file system: {right}")
    _check_folder(parts)
    return Path(path)


def _memory(parts: SplitResult) -> Location:
    if parts.netloc or parts.path.strip("/"):
        raise ConfigurationError("A store in memory has no name and no folders: write memory:/// and use prefix=")
    return Location("memory:///")


def _remote(url: str, parts: SplitResult) -> Location:
    form = _BUCKET_SCHEMES.get(parts.scheme)
    if form is None:
        raise ConfigurationError(f"obstore knows no {parts.scheme}:// stores; write one of {_FORMS}")
    account, at, host = parts.netloc.rpartition("@")
    if at and (parts.scheme not in _WITH_ACCOUNT or ":" in account or not account):
        raise ConfigurationError(f"Credentials do not belong in a URL, they are options of the backend: write {form}")
    if not host:
        raise ConfigurationError(f"fs={_shown(parts)!r} names no bucket, container or host: write {form}")
    _check_folder(parts)
    return Location(url)


def _check_folder(parts: SplitResult) -> None:
    folder = unquote(parts.path).removeprefix("/").removesuffix("/")
    try:
        check_key(folder or "folder")
    except InvalidKeyError as error:
        raise ConfigurationError(f"The folder of fs={_shown(parts)!r} cannot be used: {error.detail}") from error
