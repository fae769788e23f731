"""Google Cloud Storage through gcsfs: uses its credentials and connections, but sends its own requests (JSON API).

gcsfs's own requests wait half a minute before they report an unreachable server, and its errors do not say whether an
object or a bucket is missing. https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import io
import json
import os
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import quote

from litestar_filestore.backends.fsspec.fsspec_errors import ResponseError
from litestar_filestore.backends.fsspec.object_stores import (
    SIGNING,
    ObjectStore,
    PartUpload,
    RangeMissingError,
    RangePart,
    RangeReader,
    with_patience,
)
from litestar_filestore.backends.fsspec.store import Page
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import Capability, ObjectInfo, PartBuffers
from litestar_filestore.errors import (
    BackendUnavailableError,
    ObjectChangedError,
    ObjectExistsError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.types import PutOptions, SignMethod

__all__ = (
    "BUFFERS",
    "Answer",
    "GCSReader",
    "GCSStore",
    "GCSUpload",
)

_PART_BYTES = 8 * 1024 * 1024
BUFFERS = PartBuffers(part_bytes=_PART_BYTES, max_concurrency=1, copies=2)
"""Memory that a put uses; aiohttp may hold a copy of each part in flight."""
_PART_UNIT = 256 * 1024
"""The size of every part but the last is a multiple of this."""
_BOUNDARY = "filestore-7d1f0c52a94b"
_GIVEN_UP = 499
"""Google's status for an upload that was cancelled on request."""


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
        """Return the info from the response to the last part."""
        if self._object is None:
            raise BackendUnavailableError("The store did not confirm the end of the upload: store the file again")
        self._location = ""
        return self._store.info(self._path, self._object)

    async def discard(self) -> None:
        """Cancel the upload."""
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
            kept = answer.headers.get("Range")  # the server may keep less than it received
            begin = int(kept.rpartition("-")[2]) + 1 if kept else 0
            if not offset < begin <= end:
                raise BackendUnavailableError("The store did not keep what it was sent: store the file again")
            offset = begin

    async def _explained(self, method: str, url: str, **options: Any) -> Answer:
        try:
            return await self._store.request(method, url, **options)
        except ResponseError as error:
            if error.status == HTTPStatus.PRECONDITION_FAILED:
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise


class GCSReader(RangeReader):
    """A read from Google Cloud Storage."""

    def __init__(self, store: GCSStore, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        super().__init__(start, end)
        self._store = store
        self._url = store.url(path)

    async def fetch(self, offset: int, length: int, version: Any) -> RangePart:
        """Get a range, of exactly the generation that is known."""
        parameters = {"alt": "media", "ifGenerationMatch": version}
        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        try:
            answer = await self._store.request("GET", self._url, params=parameters, headers=headers)
        except ResponseError as error:
            missing = error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            gone = error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED}
            if version is not None and (missing or gone):
                raise ObjectChangedError("The object was replaced while it was read: read it again") from error
            if missing:
                raise RangeMissingError from error
            raise
        size = len(answer.body)
        if (span := answer.headers.get("Content-Range")) is not None:
            size = int(span.rpartition("/")[2])
        elif offset or size > length:
            raise UnsupportedOperationError(
                "This server ignores ranges, so large objects cannot be read: use one that sends ranges"
            )
        return RangePart(answer.body, size, answer.headers.get("x-goog-generation"))


# ruff: noqa: SLF001 - gcsfs has no public names for its session, its location and its headers


_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})


class Answer(NamedTuple):
    """The response to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return what the body says."""
        return json.loads(self.body)


class GCSStore(ObjectStore):
    """Objects in Google Cloud Storage. `PUT_IF_ABSENT` holds for all sizes."""

    part_buffers: ClassVar[PartBuffers | None] = BUFFERS

    @classmethod
    def capabilities_with(cls, options: dict[str, Any]) -> Capability:
        """Return what the store can do: it does not sign without credentials."""
        capabilities = cls.capabilities & ~SIGNING if options.get("token") == "anon" else cls.capabilities
        server = options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST")
        # Emulators ignore the condition of a put.
        is_emulator = server and "googleapis.com" not in server
        return capabilities & ~Capability.PUT_IF_ABSENT if is_emulator else capabilities

    def where(self, path: str) -> tuple[str, str]:
        """Return bucket and name of an object."""
        bucket, _, name = (self.place.root + path).partition("/")
        return bucket, name

    def url(self, path: str) -> str:
        """Return the URL of an object."""
        return f"{self.bucket_url(path)}/{quote(self.where(path)[1], safe='')}"

    def bucket_url(self, path: str, interface: str = "storage/v1") -> str:
        """Return the URL of all objects in the bucket of an object."""
        return f"{self.fs._location}/{interface}/b/{quote(self.where(path)[0], safe='')}/o"

    async def request(self, method: str, url: str, *, is_safe: bool = True, **options: Any) -> Answer:
        """Send a request, and repeat it after temporary failures if `is_safe`, that is if it may be done twice.

        Raises:
            ResponseError: If the response reports a failure.
        """
        if not is_safe:
            return await self._request(method, url, **options)
        return await with_patience(lambda: self._request(method, url, **options), _is_temporary)

    async def _request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        from yarl import URL

        session = await self.fs._set_session()  # gcsfs has no public names for this and the next
        if isinstance(options.get("data"), bytes):
            # aiohttp warns about large bytes, and closes a stream after use, so each attempt needs a new one.
            options["data"] = io.BytesIO(options["data"])
        async with session.request(
            method,
            URL(url, encoded=True),  # or "%26" and others would be unescaped
            headers=self.fs._get_headers(headers),
            params=self.fs._get_params(options.pop("params", {})),
            timeout=type(session.timeout)(total=None, sock_connect=5, sock_read=30),
            allow_redirects=False,
            **options,
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise ResponseError(answer.status, _reason(answer))
        return answer

    def upload(self, path: str, options: PutOptions) -> GCSUpload:
        """Begin a put, in parts if it is long."""
        return GCSUpload(self, path, options)

    def reader(self, path: str, start: int, end: int | None) -> GCSReader:
        """Begin a read by ranges."""
        return GCSReader(self, path, start, end)

    async def head(self, path: str) -> ObjectInfo:
        """Return the info of one object."""
        return self.info(path, (await self.request("GET", self.url(path))).json())

    async def refuse_existing(self, path: str) -> None:
        """Raise `ObjectExistsError` if the object exists, because emulators ignore the condition that ensures this."""
        try:
            await self.head(path)
        except ResponseError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")

    async def delete_one(self, path: str) -> None:
        """Delete an object; a missing one is fine."""
        try:
            await self.request("DELETE", self.url(path))
        except ResponseError as error:
            if error.status != HTTPStatus.NOT_FOUND or error.is_bucket_missing:
                raise

    async def page(self, prefix: str, rest: Any) -> Page:
        """List up to a thousand objects."""
        below = f"{prefix}/" if prefix else ""
        name = self.where(below)[1]
        parameters = {"prefix": name or None, "pageToken": rest, "maxResults": "1000"}
        answer = (await self.request("GET", self.bucket_url(below), params=parameters)).json()
        items = [item for item in answer.get("items", ()) if not item["name"].endswith("/")]  # folder markers
        return Page(
            [self.info(below + item["name"].removeprefix(name), item) for item in items], answer.get("nextPageToken")
        )

    async def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the store, in as many steps as it needs."""
        if not overwrite:
            await self.refuse_existing(target)
        bucket, name = self.where(target)
        url = f"{self.url(source)}/rewriteTo/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
        parameters: dict[str, str | None] = {} if overwrite else {"ifGenerationMatch": "0"}
        while True:
            try:
                answer = (await self.request("POST", url, params=parameters, is_safe=overwrite)).json()
            except ResponseError as error:
                if error.status == HTTPStatus.PRECONDITION_FAILED:
                    raise ObjectExistsError(
                        "There is already an object of that key: choose another, or overwrite=True"
                    ) from error
                raise
            if answer["done"]:
                return
            parameters["rewriteToken"] = answer["rewriteToken"]

    async def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL signed with version 4 by the service account's key."""
        # In a thread, because credentials of virtual machines have no key and send a request to Google to sign.
        return await run_blocking(partial(self._sign, path, method, expires_in))

    def _sign(self, path: str, method: SignMethod, expires_in: int) -> str:
        storage: Any = import_module("google.cloud.storage")
        credentials = self.fs.credentials.credentials
        if not hasattr(credentials, "sign_bytes"):
            raise UnsupportedOperationError("Only the key of a service account can sign URLs: give its file as token=")
        bucket, name = self.where(path)
        # The project is not part of a signature, but without one the client would search for it on the network.
        client = storage.Client(project=self.fs.project or "none", credentials=credentials)
        url: str = (
            client.bucket(bucket)
            .blob(name)
            .generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=expires_in),
                method=method,
                api_access_endpoint=self.fs._location,
            )
        )
        return url

    async def clean(self, older_than: float) -> int:
        """Do nothing: Google discards unfinished uploads after a week and does not list them."""
        del older_than
        return 0

    async def close(self) -> None:
        """Close the session."""
        session, self.fs._session = self.fs._session, None
        if session is not None:
            await session.close()

    @staticmethod
    def info(path: str, item: Mapping[str, Any]) -> ObjectInfo:
        """Return what an object resource says about the object `path`."""
        return ObjectInfo(
            key=path,
            size=int(item["size"]),
            last_modified=datetime.fromisoformat(item["updated"]).timestamp(),
            etag=f'"{item["etag"]}"' if item.get("etag") else None,
            version_id=item.get("generation"),
            content_type=item.get("contentType"),
            metadata=item.get("metadata") or {},
        )


def _reason(answer: Answer) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, ResponseError):
        return error.status in _TEMPORARY
    return isinstance(error, TimeoutError) or type(error).__module__.startswith("aiohttp.")
