"""Writing and reading blobs of Azure."""

from __future__ import annotations

import io
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.fsspec_parts import Part, PartUpload, RangeMissingError, RangeReader
from litestar_filestore.core.types import ObjectInfo, PartBuffers
from litestar_filestore.errors import ObjectChangedError, ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar_filestore.backends.fsspec_azure import AzureStore
    from litestar_filestore.core.types import PutOptions

__all__ = ("BUFFERS", "AzureReader", "AzureUpload", "code_of", "is_taken")

_PART_BYTES = 8 * 1024 * 1024
_WHOLE_BYTES = 1024 * 1024
_MAX_PARTS = 45_000
"""Azure takes 50,000 blocks; some are kept back for a length that was announced too low."""
_CONCURRENCY = 4
BUFFERS = PartBuffers(part_bytes=_PART_BYTES, max_concurrency=_CONCURRENCY, copies=2)
"""What a put holds; Azure's client may have a copy of each part that is in flight."""
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def code_of(error: Exception) -> str:
    """Return the code of an error that Azure answered with, ``""`` for other errors."""
    code: Any = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def is_taken(error: Exception) -> bool:
    """Return whether an error says that a blob is there which must not be."""
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
            # Other names are refused, and so are values with blanks at their ends.
            "metadata": {
                name: value.strip() for name, value in options.metadata.items() if _IDENTIFIER.fullmatch(name)
            },
            "content_settings": ContentSettings(content_type=options.content_type),
        }

    async def put_whole(self, content: bytes) -> ObjectInfo:
        """Store the content with one request if it is small, else as the only block.

        Azure's client turns the content of a single request into bytes, and aiohttp warns of large bytes.
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

        async def stage(**options: Any) -> None:
            # A new stream for each attempt: it is closed after use.
            await self._blob.stage_block(_block_id(number), io.BytesIO(part), length=len(part), **options)

        await self._store.request(stage)

    async def complete(self) -> ObjectInfo:
        """Publish the blocks."""
        blocks = [_block_id(number) for number in range(self.parts)]
        return await self._publish(partial(self._blob.commit_block_list, blocks), **self._condition)

    async def discard(self) -> None:
        """Leave the blocks to Azure; see the store."""

    async def _publish(self, function: Callable[..., Awaitable[Any]], **options: Any) -> ObjectInfo:
        try:
            answer = await self._store.request(function, **self._attributes, **options)
        except Exception as error:
            if not self._options.overwrite and is_taken(error):
                raise ObjectExistsError("There is already an object of that key") from error
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

    async def fetch(self, offset: int, length: int, version: Any) -> Part:
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
                raise ObjectChangedError("The object was replaced while it was read") from error
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise RangeMissingError from error
            raise

    async def _get(self, offset: int, length: int, version: Any, **options: Any) -> Part:
        from azure.core import MatchConditions

        if version is not None:
            options |= {"etag": version, "match_condition": MatchConditions.IfNotModified}
        stream = await self._blob.download_blob(offset=offset, length=length, **options)
        data = await stream.readall()
        return Part(data, int(stream.properties.content_range.rpartition("/")[2]), stream.properties.etag)


def _block_id(number: int) -> str:
    return f"{number:08}"  # all of a blob are of the same length
