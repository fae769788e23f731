"""Azure Blob Storage through adlfs: uses its credentials and connections, but sends its own requests.

adlfs's file operations cut keys at ``?versionid=``, write folder markers into user metadata and wrap the errors of an
upload in ``RuntimeError``. Azure's own client underneath does all of this correctly.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from litestar_filestore.backends.fsspec.fsspec_errors import is_named
from litestar_filestore.backends.fsspec.object_stores import (
    SIGNING,
    ObjectStore,
    PartUpload,
    RangeMissingError,
    RangePart,
    RangeReader,
    with_patience,
)
from litestar_filestore.backends.fsspec.store import Page, Place
from litestar_filestore.core.part_objects import begun_key, new_upload, unknown_upload
from litestar_filestore.core.types import (
    PARTS_KEPT_SECONDS,
    Capability,
    ObjectInfo,
    Part,
    PartBuffers,
    PartLimits,
    PutOptions,
)
from litestar_filestore.errors import (
    BackendUnavailableError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from litestar_filestore.core.types import SignMethod

__all__ = (
    "BUFFERS",
    "AzureReader",
    "AzureStore",
    "AzureUpload",
    "code_of",
    "is_taken",
)

_PART_BYTES = 8 * 1024 * 1024
_WHOLE_BYTES = 1024 * 1024
_MAX_BLOCKS = 50_000
_MAX_BLOCK_BYTES = 4_000 * 1024 * 1024
_MAX_PARTS = 45_000
"""Azure accepts 50,000 blocks; some are kept in reserve, in case the announced length is too low."""
_CONCURRENCY = 4
BUFFERS = PartBuffers(part_bytes=_PART_BYTES, max_concurrency=_CONCURRENCY, copies=2)
"""Memory that a put uses; Azure's client may hold a copy of each part in flight."""
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def code_of(error: Exception) -> str:
    """Return the error code of a response from Azure, ``""`` for other errors."""
    code: Any = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def is_taken(error: Exception) -> bool:
    """Return whether an error says that a blob already exists."""
    return code_of(error) in {"BlobAlreadyExists", "ConditionNotMet", "UnauthorizedBlobOverwrite"}


class AzureUpload(PartUpload):
    """A put into Azure."""

    def __init__(self, store: AzureStore, path: str, options: PutOptions) -> None:
        """Prepare to put `path`."""
        from azure.core import MatchConditions
        from azure.storage.blob import ContentSettings

        super().__init__(
            max(options.part_bytes or _PART_BYTES, (options.size or 0) // _MAX_PARTS),
            options.max_concurrency or _CONCURRENCY,
        )
        self._store = store
        self._path = path
        self._blob = store.blob(path)
        self._options = options
        self._condition = {} if options.overwrite else {"match_condition": MatchConditions.IfMissing}
        self._attributes: dict[str, Any] = {
            # Azure refuses other names, and values with leading or trailing blanks.
            "metadata": {
                name: value.strip() for name, value in options.metadata.items() if _IDENTIFIER.fullmatch(name)
            },
            "content_settings": ContentSettings(content_type=options.content_type),
        }

    async def put_whole(self, content: bytes) -> ObjectInfo:
        """Store the content with one request if it is small, else as the only block.

        Azure's client converts the content of a single request to bytes, and aiohttp warns about large bytes.
        """
        self.sent = len(content)
        if len(content) > _WHOLE_BYTES:
            self.parts = 1
            await self.send(0, 0, content)
            return await self.complete()
        upload = partial(self._blob.upload_blob, content, length=len(content))
        return await self._publish(upload, overwrite=self._options.overwrite)

    async def begin(self) -> None:
        """Do nothing: blocks need no announcement."""

    async def send(self, number: int, offset: int, part: bytes) -> None:
        """Send a block."""
        del offset
        await self.stage(_block_id(number), part)

    async def stage(self, block_id: str, content: bytes) -> None:
        """Send a block of that name."""

        async def stage(**options: Any) -> None:
            # A new stream for each attempt: it is closed after use.
            await self._blob.stage_block(block_id, io.BytesIO(content), length=len(content), **options)

        await self._store.request(stage)

    async def complete(self) -> ObjectInfo:
        """Publish the blocks."""
        blocks = [_block_id(number) for number in range(self.parts)]
        return await self._publish(partial(self._blob.commit_block_list, blocks), **self._condition)

    async def discard(self) -> None:
        """Leave the blocks to Azure; see the store."""

    async def finish_parts(self, parts: Sequence[Part]) -> ObjectInfo:
        """Publish blocks that were sent from elsewhere."""
        self.sent = self._options.size or 0
        blocks = [part.receipt for part in parts]
        return await self._publish(partial(self._blob.commit_block_list, blocks), **self._condition)

    async def _publish(self, function: Callable[..., Awaitable[Any]], **options: Any) -> ObjectInfo:
        try:
            answer = await self._store.request(function, **self._attributes, **options)
        except Exception as error:
            if not self._options.overwrite and is_taken(error):
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise
        return ObjectInfo(
            key=self._path,
            size=self.sent,
            last_modified=answer["last_modified"].timestamp(),
            etag=answer.get("etag"),
            version_id=answer.get("version_id"),
            content_type=self._options.content_type,
            metadata=self._options.metadata,
        )


class AzureReader(RangeReader):
    """A read from Azure."""

    def __init__(self, store: AzureStore, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        super().__init__(start, end)
        self._store = store
        self._blob = store.blob(path)

    async def fetch(self, offset: int, length: int, version: Any) -> RangePart:
        """Get a range, of exactly the version whose entity tag is known."""
        try:
            return await self._store.request(self._get, offset, length, version)
        except Exception as error:
            status = getattr(error, "status_code", None)
            if version is not None and status in {
                HTTPStatus.NOT_FOUND,
                HTTPStatus.PRECONDITION_FAILED,
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            }:
                raise ObjectChangedError("The object was replaced while it was read: read it again") from error
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise RangeMissingError from error
            raise

    async def _get(self, offset: int, length: int, version: Any, **options: Any) -> RangePart:
        from azure.core import MatchConditions

        if version is not None:
            options |= {"etag": version, "match_condition": MatchConditions.IfNotModified}
        stream = await self._blob.download_blob(offset=offset, length=length, **options)
        data = await stream.readall()
        return RangePart(data, int(stream.properties.content_range.rpartition("/")[2]), stream.properties.etag)


def _block_id(number: int, upload: str = "0" * 32, mark: str = "0" * 16) -> str:
    return f"{upload}{number:08}{mark}"  # all ids of a blob must have the same length


T = TypeVar("T")

_POLL_SECONDS = 0.5
# For each request: the client's own retries wait 15 seconds before the first one.
_PATIENCE = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 30}


class AzureStore(ObjectStore):
    """Block blobs in a container. `PUT_IF_ABSENT` holds for all sizes.

    Azure keeps the blocks of a failed upload for a week, or until the next put of the key; no request removes them. So
    an object in parts has an empty blob beside it, which is removed when the object is finished or abandoned. Finishing
    one object of a key drops the blocks of all others.
    """

    capabilities: ClassVar[Capability] = ObjectStore.capabilities | Capability.PARTS
    part_buffers: ClassVar[PartBuffers | None] = BUFFERS

    @classmethod
    def part_limits_with(cls, options: dict[str, Any]) -> PartLimits | None:
        """Return the limits of Azure, which keeps blocks for a week."""
        del options
        return PartLimits(max_bytes=_MAX_BLOCK_BYTES, max_parts=_MAX_BLOCKS, keeps_seconds=PARTS_KEPT_SECONDS)

    @classmethod
    def capabilities_with(cls, options: dict[str, Any]) -> Capability:
        """Return what the store can do: it signs only with the account's key."""
        connection_string = options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
        if connection_string:
            has_key = "AccountKey=" in connection_string
        else:
            has_key = bool(options.get("account_key") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"))
        return cls.capabilities if has_key else cls.capabilities & ~SIGNING

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
        """Send a request, and repeat it if the server could not be reached or was busy."""
        patience = {**_PATIENCE, **getattr(self.fs, "_timeout_kwargs", {})}  # what the user gave adlfs
        return await with_patience(lambda: function(*arguments, **options, **patience), _is_temporary)

    def upload(self, path: str, options: PutOptions) -> AzureUpload:
        """Begin a put, in blocks if it is long."""
        return AzureUpload(self, path, options)

    async def begin_parts(self, path: str, options: PutOptions) -> str:
        """Say that there is an unfinished object."""
        del options
        upload = new_upload(path)
        await AzureUpload(self, begun_key(path, upload), PutOptions()).put_whole(b"")
        return upload

    async def put_part(self, path: str, upload: str, number: int, offset: int, content: bytes) -> Part:
        """Send a block under a name of its own: a late one never replaces one that somebody else has sent."""
        begun = begun_key(path, upload)
        receipt = _block_id(number, upload, secrets.token_hex(8))
        await AzureUpload(self, path, PutOptions()).stage(receipt, content)
        await self._check(begun)
        return Part(number, offset, len(content), receipt)

    async def finish_parts(self, path: str, upload: str, parts: Sequence[Part], options: PutOptions) -> ObjectInfo:
        """Commit the blocks."""
        await self._check(begun_key(path, upload))
        try:
            info = await AzureUpload(self, path, options).finish_parts(parts)
        except Exception as error:
            if code_of(error) in {"InvalidBlockList", "InvalidBlockId"}:
                raise ObjectChangedError("A part has been replaced, or is not in the store: put it again") from error
            raise
        await self.abandon_parts(path, upload)
        return info

    async def abandon_parts(self, path: str, upload: str) -> None:
        """Say that there is no unfinished object any more."""
        with suppress(ObjectNotFoundError):
            await self.delete_one(begun_key(path, upload))

    async def _check(self, begun: str) -> None:
        try:
            await self.head(begun)
        except Exception as error:
            if code_of(error) == "BlobNotFound":
                raise unknown_upload() from error
            raise

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
        """Copy inside Azure, which may take a while."""
        from azure.core import MatchConditions

        await self.head(source)
        condition = {} if overwrite else {"match_condition": MatchConditions.IfMissing}
        blob = self.blob(target)
        try:
            answer = await self.request(blob.start_copy_from_url, self.blob(source).url, **condition)
        except Exception as error:
            if not overwrite and is_taken(error):
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise
        status = answer.get("copy_status")
        while status == "pending":
            await asyncio.sleep(_POLL_SECONDS)
            status = (await self.request(blob.get_blob_properties))["copy"]["status"]
        if status != "success":
            raise BackendUnavailableError("The store gave up copying the object; try again later")

    async def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL with a shared access signature; nothing is sent.

        A PUT to it needs the header ``x-ms-blob-type: BlockBlob``.
        """
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        credential = self.fs.service_client.credential
        account_key = getattr(credential, "account_key", None)
        if account_key is None:
            raise UnsupportedOperationError(
                "Only the key of the Azure account can sign URLs, not a token or a link: give account_key="
            )
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
