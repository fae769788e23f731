"""Makes the driver for the arguments of a backend: a URL with options, or a store."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import LocalStore, from_url

from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.backends.obstore.kinds import KINDS, kind_of
from litestar_filestore.backends.obstore.obstore_driver import ObstoreDriver
from litestar_filestore.backends.obstore.webdav_servers import ObstoreHttpDriver
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ObjectStore

    from litestar_filestore.backends.obstore.kinds import Kind
    from litestar_filestore.core.driver import Driver

__all__ = (
    "driver_of_store",
    "driver_of_url",
    "open_store",
)

_CLIENT_DEFAULTS = {"connect_timeout": "5s", "timeout": "30s"}
_RETRY_DEFAULTS = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}

# obstore also takes these among the options of S3, Google and Azure, but then panics when asked for its configuration.
_CLIENT_OPTIONS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "default_content_type",
        "default_headers",
        "http1_only",
        "http2_keep_alive_interval",
        "http2_keep_alive_timeout",
        "http2_keep_alive_while_idle",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "read_timeout",
        "root_certificate",
        "timeout",
        "user_agent",
    }
)
_SERVICE_VARIABLES = {"s3": "AWS", "gcs": "GOOGLE", "azure": "AZURE"}
_SERVICE_PREFIX = re.compile(r"^(aws|azure|google)_")
_UNKNOWN_OPTION = re.compile(r"(?:Configuration key: '|Invalid key: )([A-Za-z0-9_]{1,80})")
_UNREADABLE = ("credential error", "Invalid Access Key")
_INCOMPLETE = {
    "Account must be specified": "name the account: azure_storage_account_name",
    "Missing SecretAccessKey": "there is an access key without its secret: aws_secret_access_key",
    "Missing AccessKeyId": "there is a secret without its access key: aws_access_key_id",
}


def driver_of_url(url: str, options: Mapping[str, Any], **settings: Any) -> ObstoreDriver:
    """Return the driver for a checked URL that is not a folder.

    Args:
        url: A URL that `folder_of` accepts.
        options: Options of obstore.
        **settings: Arguments of `ObstoreDriver`.

    Raises:
        ConfigurationError: If obstore refuses the options.
    """
    protocol = obstore.parse_scheme(url)
    kind = KINDS[protocol]
    said = options.get("aws_conditional_put") or options.get("conditional_put")
    if (said or (protocol == "s3" and os.environ.get("AWS_CONDITIONAL_PUT"))) == "disabled":
        kind = replace(kind, capabilities=kind.capabilities & ~Capability.PUT_IF_ABSENT)
    opener = partial(_open, url, _store_options(protocol, options))
    try:
        store = opener()
    except AuthenticationError:
        store = None  # raised again when somebody needs the store
    # Objects in memory must survive a close, so a memory store is never made again.
    return _driver(store, kind, opener=None if protocol == "memory" else opener, **settings)


def driver_of_store(store: ObjectStore, **settings: Any) -> Driver:
    """Return the driver for a store that the caller made.

    Raises:
        ConfigurationError: If it is not an obstore store, or is a folder without a name.
    """
    if not isinstance(store, LocalStore):
        return _driver(store, kind_of(store), **settings)
    if store.prefix is None:
        raise ConfigurationError("LocalStore() is the whole file system: give LocalStore(prefix='/absolute/folder')")
    return LocalDriver(store.prefix)


def _driver(store: ObjectStore | None, kind: Kind, **settings: Any) -> ObstoreDriver:
    return (ObstoreHttpDriver if kind.protocol == "http" else ObstoreDriver)(store, kind, **settings)


def open_store(driver: LocalDriver | ObstoreDriver) -> ObjectStore:
    """Return the store underneath a driver, or obstore's view of the same folder."""
    return LocalStore(driver.root, mkdir=True) if isinstance(driver, LocalDriver) else driver.store


def _store_options(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    client = {**_CLIENT_DEFAULTS, **_client_environment(protocol), **given.pop("client_options", {})}
    for name in tuple(given):
        if (plain := _SERVICE_PREFIX.sub("", name)) in _CLIENT_OPTIONS:
            client[plain] = given.pop(name)
    retry = {**_RETRY_DEFAULTS, **given.pop("retry_config", {})}
    if protocol in {"http", "memory"} and given:
        raise ConfigurationError(f"{protocol} storage has no option {min(given)!r}: leave it out")
    return given if protocol == "memory" else {**given, "client_options": client, "retry_config": retry}


def _client_environment(protocol: str) -> dict[str, str]:
    """Return what the environment says of connections, as in ``AWS_ALLOW_HTTP``.

    obstore reads it, and forgets it as soon as it is given client options, such as our shorter timeouts.
    """
    service = _SERVICE_VARIABLES.get(protocol)
    found = {name: os.environ.get(f"{service}_{name.upper()}") for name in _CLIENT_OPTIONS} if service else {}
    return {name: value for name, value in found.items() if value is not None}


def _open(url: str, options: dict[str, Any]) -> ObjectStore:
    try:
        return from_url(url, **options)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        # The text may repeat a value that obstore could not read, so it stays in the cause.
        text = str(error)
        if any(phrase in text for phrase in _UNREADABLE):
            raise AuthenticationError(
                "The credentials among the backend's options cannot be read: check their file or text"
            ) from error
        raise ConfigurationError(f"obstore refuses the options of this backend: {_reason(text, options)}") from error


def _reason(text: str, options: Mapping[str, Any]) -> str:
    if (unknown := _UNKNOWN_OPTION.search(text)) is not None:
        return f"there is no option {unknown[1]!r}"
    wrong = (
        f"a value has the wrong form, among {', '.join(sorted(options))}: most are text, as in aws_region='us-east-1'"
    )
    return next((reason for phrase, reason in _INCOMPLETE.items() if phrase in text), wrong)
