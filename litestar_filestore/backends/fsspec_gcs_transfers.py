"""Writing and reading objects of Google Cloud Storage."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.fsspec_errors import ResponseError
from litestar_filestore.backends.fsspec_parts import Part, PartUpload, RangeMissingError, RangeReader
from litestar_filestore.core.types import PartBuffers
from litestar_filestore.errors import (
    BackendUnavailableError,
    ObjectChangedError,
    ObjectExistsError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from litestar_filestore.backends.fsspec_gcs import Answer, GCSStore
    from litestar_filestore.core.types import ObjectInfo, PutOptions

__all__ = ("BUFFERS", "GCSReader", "GCSUpload")

_PART_BYTES = 8 * 1024 * 1024
BUFFERS = PartBuffers(part_bytes=_PART_BYTES, max_concurrency=1, copies=2)
"""What a put holds; aiohttp may have a copy of each part that is in flight."""
_PART_UNIT = 256 * 1024
"""All parts but the last are multiples of this."""
_BOUNDARY = "filestore-7d1f0c52a94b"
_GIVEN_UP = 499
"""Google's status for an upload that was cancelled as it was asked for."""


class GCSUpload(PartUpload):
    """A put into Google Cloud Storage, by a resumable upload if it is long."""

    def __init__(self, store: GCSStore, path: str, options: PutOptions) -> None:
        """Prepare to put `path`."""
        units = max(1, (options.part_bytes or _PART_BYTES) // _PART_UNIT)
        super().__init__(units * _PART_UNIT, 1)  # parts go one after the other
        self._store = store
        self._path = path
        self._overwrite = options.overwrite
        self._content_type = options.content_type or "application/octet-stream"
        self._attributes = {
            "name": store.where(path)[1],
            "contentType": self._content_type,
            "metadata": dict(options.metadata),
        }
        self._location = ""
        self._object: Any = None

    async def put_whole(self, content: bytes) -> ObjectInfo:
        """Store attributes and content with one request."""
        head = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(self._attributes)}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: {self._content_type}\r\n\r\n"
        )
        body = b"".join((head.encode(), content, f"\r\n--{_BOUNDARY}--\r\n".encode()))
        headers = {"Content-Type": f'multipart/related; boundary="{_BOUNDARY}"'}
        answer = await self._start("multipart", headers=headers, data=body)
        return self._store.info(self._path, answer.json())

    async def begin(self) -> None:
        """Announce a resumable upload."""
        headers = {"X-Upload-Content-Type": self._content_type}
        answer = await self._start("resumable", headers=headers, json=self._attributes)
        self._location = answer.headers["Location"]

    async def send(self, number: int, offset: int, part: bytes) -> None:
        """Send a part that is not the last one."""
        del number
        await self._send(part, offset, "*")

    async def commit(self) -> ObjectInfo:
        """Send the rest, which publishes the object."""
        if self.parts == 0:
            return await self.put_whole(bytes(self.buffer))
        await self.wait_for(0)
        await self._send(bytes(self.buffer), self.sent, str(self.sent + len(self.buffer)))
        return await self.complete()

    async def complete(self) -> ObjectInfo:
        """Return what the last part was answered with."""
        if self._object is None:
            raise BackendUnavailableError("The store did not confirm the end of the upload")
        self._location = ""
        return self._store.info(self._path, self._object)

    async def discard(self) -> None:
        """Give the upload up."""
        if self._location:
            try:
                await self._store.request("DELETE", self._location)
            except ResponseError as error:
                if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, _GIVEN_UP}:
                    raise

    async def _start(self, kind: str, **options: Any) -> Answer:
        parameters = {"uploadType": kind}
        if not self._overwrite:
            await self._store.refuse_existing(self._path)
            parameters["ifGenerationMatch"] = "0"
        url = self._store.bucket_url(self._path, "upload/storage/v1")
        return await self._explained("POST", url, params=parameters, is_safe=self._overwrite, **options)

    async def _send(self, part: bytes, offset: int, total: str) -> None:
        view, end = memoryview(part), offset + len(part)
        while offset < end:
            headers = {"Content-Range": f"bytes {offset}-{end - 1}/{total}"}
            data = bytes(view[len(part) - (end - offset) :])
            answer = await self._explained("PUT", self._location, headers=headers, data=data)
            if answer.status != HTTPStatus.PERMANENT_REDIRECT:
                self._object = answer.json()
                return
            kept = answer.headers.get("Range")  # the server may keep less than it was sent
            begin = int(kept.rpartition("-")[2]) + 1 if kept else 0
            if not offset < begin <= end:
                raise BackendUnavailableError("The store did not keep what it was sent")
            offset = begin

    async def _explained(self, method: str, url: str, **options: Any) -> Answer:
        try:
            return await self._store.request(method, url, **options)
        except ResponseError as error:
            if error.status == HTTPStatus.PRECONDITION_FAILED:
                raise ObjectExistsError("There is already an object of that key") from error
            raise


class GCSReader(RangeReader):
    """A read from Google Cloud Storage."""

    def __init__(self, store: GCSStore, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        super().__init__(start, end)
        self._store = store
        self._url = store.url(path)

    async def fetch(self, offset: int, length: int, version: Any) -> Part:
        """Get a range, of exactly the generation that is known."""
        parameters = {"alt": "media", "ifGenerationMatch": version}
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        try:
            answer = await self._store.request("GET", self._url, params=parameters, headers=headers)
        except ResponseError as error:
            missing = error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            gone = error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED}
            if version is not None and (missing or gone):
                raise ObjectChangedError("The object was replaced while it was read") from error
            if missing:
                raise RangeMissingError from error
            raise
        size = len(answer.body)
        if (span := answer.headers.get("Content-Range")) is not None:
            size = int(span.rpartition("/")[2])
        elif offset or size > length:
            raise UnsupportedOperationError("This server ignores ranges, so large objects cannot be read")
        return Part(answer.body, size, answer.headers.get("x-goog-generation"))
