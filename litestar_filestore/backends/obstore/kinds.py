"""The kinds of stores that obstore supports, and how they differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from obstore.store import AzureStore, GCSStore, HTTPStore, MemoryStore, S3Store

from litestar_filestore.core.types import Capability, ObjectInfo
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore import Attributes, ObjectMeta

    from litestar_filestore.core.types import PutOptions

__all__ = (
    "KINDS",
    "Kind",
    "kind_of",
    "quoted",
    "user_metadata",
)

_CLOUD = (
    Capability.SIGN_GET | Capability.SIGN_PUT | Capability.PUT_IF_ABSENT | Capability.METADATA | Capability.NATIVE_ASYNC
)

# Azure requires C# identifiers: https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_HEADERS = frozenset({"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "Cache-Control"})


@dataclass(frozen=True, slots=True)
class Kind:
    """The abilities of one kind of store."""

    protocol: str
    """Name of the service, as in Advanced Alchemy."""
    capabilities: Capability
    multipart: bool = True
    """Whether content can be uploaded in parts; else it is gathered in memory and put in one request."""
    explains: bool = True
    """Whether the response to a GET says why a HEAD was refused; a response to HEAD has no body."""
    probed: bool = True
    """Whether to probe the store at the start."""
    metadata_name: re.Pattern[str] | None = None
    """Pattern of the allowed names of user metadata, if not all are allowed."""

    def attributes(self, options: PutOptions) -> Attributes | None:
        """Return the attributes that are sent with the content."""
        if Capability.METADATA not in self.capabilities:
            return None
        attributes: dict[Any, str] = {
            name: value
            for name, value in options.metadata.items()
            if self.metadata_name is None or self.metadata_name.fullmatch(name)
        }
        if options.content_type is not None:
            # Trailing blanks are not part of a header's value (RFC 9110 §5.5). obstore signs them for Azure, which
            # does not and so refuses the request.
            attributes["Content-Type"] = options.content_type.rstrip()
        return attributes or None

    def info(self, path: str, meta: ObjectMeta, attributes: Mapping[Any, str] | None = None) -> ObjectInfo:
        """Return what the store says about an object."""
        given: Mapping[Any, str] = (
            attributes if attributes is not None and Capability.METADATA in self.capabilities else {}
        )
        return ObjectInfo(
            key=path,
            size=meta["size"],
            last_modified=meta["last_modified"].timestamp() or None,  # HTTP servers need not tell
            etag=quoted(meta["e_tag"]),
            version_id=meta["version"],
            content_type=given.get("Content-Type"),
            metadata=user_metadata(given),
        )


def user_metadata(attributes: Mapping[Any, str]) -> dict[str, str]:
    """Return the attributes that are user metadata, not headers."""
    return {str(name): value for name, value in attributes.items() if name not in _HEADERS}


def quoted(etag: str | None) -> str | None:
    """Return an entity tag with its quotes: WebDAV listings omit them, and Ceph returns an empty tag from parts."""
    if not etag:
        return None
    return etag if etag.endswith('"') else f'"{etag}"'


KINDS = {
    kind.protocol: kind
    for kind in (
        Kind("s3", _CLOUD),
        Kind("gcs", _CLOUD),
        Kind("azure", _CLOUD, metadata_name=_IDENTIFIER),
        Kind("http", Capability.NATIVE_ASYNC, multipart=False, explains=False),
        Kind(
            "memory",
            Capability.PUT_IF_ABSENT | Capability.METADATA | Capability.NATIVE_ASYNC,
            multipart=False,
            explains=False,
            probed=False,
        ),
    )
}
"""The kinds by their protocol, which is what ``obstore.parse_scheme`` makes of a URL."""


def kind_of(store: object) -> Kind:
    """Return what a store can do.

    Raises:
        ConfigurationError: If it is not an obstore store.
    """
    classes = {"s3": S3Store, "gcs": GCSStore, "azure": AzureStore, "http": HTTPStore, "memory": MemoryStore}
    for protocol, cls in classes.items():
        if isinstance(store, cls):
            return KINDS[protocol]
    raise ConfigurationError(
        f"fs is a URL such as 's3://bucket/' or a store made with obstore.store, not a {type(store).__name__}"
    )
