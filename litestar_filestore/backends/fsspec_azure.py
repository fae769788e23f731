"""Azure Blob Storage through adlfs: its credentials and connections, with requests of our own.

adlfs's file operations cut keys at ``?versionid=``, write marks of folders into the user's metadata and wrap the errors
of an upload in ``RuntimeError``; Azure's own client underneath does all of it right.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from litestar_filestore.backends.fsspec_azure_transfers import BUFFERS, AzureReader, AzureUpload, code_of, is_taken
from litestar_filestore.backends.fsspec_errors import is_named
from litestar_filestore.backends.fsspec_parts import ObjectStore, with_patience
from litestar_filestore.backends.fsspec_store import Page, Place
from litestar_filestore.core.types import ObjectInfo
from litestar_filestore.errors import BackendUnavailableError, ObjectExistsError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar_filestore.core.types import PartBuffers, PutOptions, SignMethod

__all__ = ("AzureStore",)

T = TypeVar("T")

_POLL_SECONDS = 0.5
# For each request: the client's own retries wait 15 seconds before the first one.
_PATIENCE = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 30}


class AzureStore(ObjectStore):
    """Block blobs in a container. `PUT_IF_ABSENT` holds for all sizes.

    Azure keeps the blocks of an upload that failed for a week and forgets them then, or with the next put of the key;
    it has no request to remove them.
    """

    part_buffers: ClassVar[PartBuffers | None] = BUFFERS

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`, whose root or prefix begins with the container."""
        super().__init__(fs, place)
        self._container = (place.root or place.prefix).partition("/")[0]

    def name(self, path: str) -> str:
        """Return the name of a blob in the container."""
        return (self.place.root + path).partition("/")[2]

    def container(self) -> Any:
        """Return the client of the container."""
        return self.fs.service_client.get_container_client(self._container)

    def blob(self, path: str) -> Any:
        """Return the client of one blob."""
        return self.container().get_blob_client(self.name(path))

    async def request(self, function: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Send a request; again if the server could not be reached or was busy."""
        patience = {**_PATIENCE, **getattr(self.fs, "_timeout_kwargs", {})}  # what the user gave adlfs
        return await with_patience(lambda: function(*arguments, **options, **patience), _is_temporary)

    def upload(self, path: str, options: PutOptions) -> AzureUpload:
        """Begin a put, in blocks if it is long."""
        return AzureUpload(self, path, options)

    def reader(self, path: str, start: int, end: int | None) -> AzureReader:
        """Begin a read by ranges."""
        return AzureReader(self, path, start, end)

    async def head(self, path: str) -> ObjectInfo:
        """Return the info of one blob."""
        return _info(path, await self.request(self.blob(path).get_blob_properties))

    async def delete_one(self, path: str) -> None:
        """Delete a blob with its snapshots; a missing one is fine."""
        try:
            await self.request(self.blob(path).delete_blob, delete_snapshots="include")
        except Exception as error:
            if code_of(error) != "BlobNotFound":
                raise

    async def page(self, prefix: str, rest: Any) -> Page:
        """List up to a thousand blobs."""
        below = f"{prefix}/" if prefix else ""
        name = self.name(below)

        async def request(**options: Any) -> Page:
            blobs = self.container().list_blobs(name_starts_with=name or None, include=["metadata"], **options)
            pages = blobs.by_page(continuation_token=rest)
            found = [blob async for blob in await anext(pages) if not _is_folder(blob)]
            infos = [_info(below + blob["name"].removeprefix(name), blob) for blob in found]
            return Page(infos, pages.continuation_token or None)

        return await self.request(request, results_per_page=1000)

    async def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside Azure, which may take its time."""
        from azure.core import MatchConditions

        await self.head(source)
        condition = {} if overwrite else {"match_condition": MatchConditions.IfMissing}
        blob = self.blob(target)
        try:
            answer = await self.request(blob.start_copy_from_url, self.blob(source).url, **condition)
        except Exception as error:
            if not overwrite and is_taken(error):
                raise ObjectExistsError("There is already an object of that key") from error
            raise
        status = answer.get("copy_status")
        while status == "pending":
            await asyncio.sleep(_POLL_SECONDS)
            status = (await self.request(blob.get_blob_properties))["copy"]["status"]
        if status != "success":
            raise BackendUnavailableError("The store gave up copying the object")

    async def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL with a shared access signature; nothing is sent.

        A PUT to it needs the header ``x-ms-blob-type: BlockBlob``.
        """
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        credential = self.fs.service_client.credential
        account_key = getattr(credential, "account_key", None)
        if account_key is None:
            raise UnsupportedOperationError("Only the key of the Azure account can sign URLs, not a token or a link")
        signature = generate_blob_sas(
            account_name=credential.account_name,
            account_key=account_key,
            container_name=self._container,
            blob_name=self.name(path),
            permission=BlobSasPermissions(read=method == "GET", write=method == "PUT", create=method == "PUT"),
            expiry=datetime.now(UTC) + timedelta(seconds=expires_in),
        )
        return f"{self.blob(path).url}?{signature}"

    async def clean(self, older_than: float) -> int:
        """Do nothing; see the class."""
        del older_than
        return 0

    async def close(self) -> None:
        """Close the client."""
        await self.fs.service_client.close()


def _is_temporary(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    if status is None:
        return is_named(error, "ServiceRequestError", "ServiceResponseError", "IncompleteReadError")
    return status in {408, 429, 500, 502, 503, 504}


def _is_folder(blob: Any) -> bool:
    return bool(blob.get("metadata")) and "hdi_isfolder" in blob["metadata"]  # in accounts with real folders


def _info(path: str, properties: Any) -> ObjectInfo:
    etag = properties.get("etag")
    return ObjectInfo(
        key=path,
        size=properties["size"],
        last_modified=properties["last_modified"].timestamp(),
        etag=f'"{etag.strip(chr(34))}"' if etag else None,  # listings leave the quotes out
        version_id=properties.get("version_id"),
        content_type=properties["content_settings"]["content_type"],
        metadata=dict(properties.get("metadata") or {}),
    )
