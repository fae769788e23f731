"""S3 through s3fs: its credentials and connections, with requests of our own.

s3fs's file operations cut keys at ``?versionId=``, publish what was written when a write fails, retry every request 25
times, and sign links in a way that S3 gave up; the client underneath does all of it right.
"""
# ruff: noqa: SLF001 - s3fs has no public names for its client, nor for what it knows about buckets and parameters

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.backends.fsspec_parts import ObjectStore
from litestar_filestore.backends.fsspec_s3_transfers import BUFFERS, S3PartCopy, S3Reader, S3Upload, code_of
from litestar_filestore.backends.fsspec_store import Page, Place
from litestar_filestore.core.types import ObjectInfo
from litestar_filestore.errors import ObjectExistsError, UnsupportedOperationError

if TYPE_CHECKING:
    from litestar_filestore.core.signing import SignedAnswer
    from litestar_filestore.core.types import PartBuffers, PutOptions, SignMethod

__all__ = ("S3Store",)

_COPY_BYTES = 5 * 1024**3
"""Largest object that one request copies."""
_MISSING = frozenset({"404", "NoSuchKey"})


class S3Store(ObjectStore):
    """Objects in S3.

    `PUT_IF_ABSENT` holds for all sizes where the server knows conditional completion, as Amazon's does, and for what
    fits into one part elsewhere: 8 MiB, or the `part_bytes` of the put.
    """

    part_buffers: ClassVar[PartBuffers | None] = BUFFERS

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`, whose root or prefix begins with the bucket."""
        super().__init__(fs, place)
        self._bucket_seen = False

    def where(self, path: str) -> dict[str, str]:
        """Return the arguments that name an object in a request."""
        # s3fs knows what the name of a bucket is: those of access points have slashes in them.
        bucket, key = self.fs._find_bucket_key(self.place.root + path)
        return {"Bucket": bucket, "Key": key}

    async def request(self, operation: str, **arguments: Any) -> Any:
        """Send a request of S3's API, with what the user set for all requests of that kind (encryption, owner ...)."""
        await self.fs.set_session()
        client = await self.fs.get_s3(arguments["Bucket"])
        method = getattr(client, operation)
        answer = await method(**self.fs._get_s3_method_kwargs(method, **arguments))
        self._bucket_seen = True
        return answer

    def upload(self, path: str, options: PutOptions) -> S3Upload:
        """Begin a put, in parts if it is long."""
        return S3Upload(self, path, options)

    def reader(self, path: str, start: int, end: int | None) -> S3Reader:
        """Begin a read by ranges."""
        return S3Reader(self, path, start, end)

    async def head(self, path: str) -> ObjectInfo:
        """Return the info of one object.

        The answer to HEAD does not say whether key or bucket is missing; the bucket is looked at once to tell.
        """
        where = self.where(path)
        try:
            answer = await self.request("head_object", **where)
        except Exception as error:
            if code_of(error) in _MISSING and not self._bucket_seen:
                await self.request("head_bucket", Bucket=where["Bucket"])
            raise
        return ObjectInfo(
            key=path,
            size=answer["ContentLength"],
            last_modified=answer["LastModified"].timestamp(),
            etag=answer.get("ETag"),
            version_id=answer.get("VersionId"),
            content_type=answer.get("ContentType"),
            metadata=answer.get("Metadata") or {},
        )

    async def refuse_existing(self, path: str) -> None:
        """Raise `ObjectExistsError` if there is an object of that key."""
        try:
            await self.head(path)
        except Exception as error:
            if code_of(error) not in _MISSING:
                raise
        else:
            raise ObjectExistsError("There is already an object of that key")

    async def delete_one(self, path: str) -> None:
        """Delete an object; S3 does not mind if it is missing."""
        await self.request("delete_object", **self.where(path))

    async def page(self, prefix: str, rest: Any) -> Page:
        """List up to a thousand keys."""
        below = f"{prefix}/" if prefix else ""
        where = self.where(below)
        more = {} if rest is None else {"ContinuationToken": rest}
        answer = await self.request("list_objects_v2", Bucket=where["Bucket"], Prefix=where["Key"], **more)
        infos = [
            ObjectInfo(
                key=below + entry["Key"].removeprefix(where["Key"]),
                size=entry["Size"],
                last_modified=entry["LastModified"].timestamp(),
                etag=entry.get("ETag"),
            )
            for entry in answer.get("Contents", ())
            if not entry["Key"].endswith("/")  # what consoles leave as the mark of a folder
        ]
        return Page(infos, answer["NextContinuationToken"] if answer.get("IsTruncated") else None)

    async def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside S3, in parts if the object is larger than 5 GiB."""
        info = await self.head(source)
        if not overwrite:
            await self.refuse_existing(target)
        if info.size <= _COPY_BYTES:
            await self.request("copy_object", **self.where(target), CopySource=self.where(source))
            return
        copying = S3PartCopy(self, source, info, target)
        try:
            await copying.run()
        except BaseException:
            await asyncio.shield(copying.discard())
            raise

    async def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL signed with signature version 4; nothing is sent."""
        if self.fs.anon:
            raise UnsupportedOperationError("Anonymous access to S3 cannot sign URLs")
        await self.fs.set_session()
        where = self.where(path)
        client = await self.fs.get_s3(where["Bucket"])
        operation = "get_object" if method == "GET" else "put_object"
        url: str = await client.generate_presigned_url(operation, Params=where, ExpiresIn=expires_in)
        return url

    async def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Return a URL to GET an object with headers of the answer; its life begins now."""
        if self.fs.anon:
            raise UnsupportedOperationError("Anonymous access to S3 cannot sign URLs")
        await self.fs.set_session()
        where = self.where(path)
        client = await self.fs.get_s3(where["Bucket"])
        headers = {
            "ResponseContentDisposition": answer.content_disposition,
            "ResponseContentType": answer.content_type,
        }
        url: str = await client.generate_presigned_url(
            "get_object", Params={**where, **headers}, ExpiresIn=answer.expires_in
        )
        return url

    async def clean(self, older_than: float) -> int:
        """Abort uploads in parts that began long ago."""
        where = self.where(f"{self.place.prefix}/" if self.place.prefix else "")
        bucket, before = {"Bucket": where["Bucket"]}, time.time() - older_than
        count, more = 0, dict[str, Any]()
        while True:
            answer = await self.request("list_multipart_uploads", **bucket, Prefix=where["Key"], **more)
            for entry in answer.get("Uploads", ()):
                if entry["Initiated"].timestamp() <= before:
                    await self.abort(UploadId=entry["UploadId"], Key=entry["Key"], **bucket)
                    count += 1
            if not answer.get("IsTruncated"):
                return count
            more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def abort(self, **upload: Any) -> None:
        """Abort an upload in parts; one that is gone is fine."""
        try:
            await self.request("abort_multipart_upload", **upload)
        except Exception as error:
            if code_of(error) != "NoSuchUpload":
                raise

    async def close(self) -> None:
        """Close the client."""
        client, self.fs._s3 = self.fs._s3, None  # s3fs itself closes it only when it is collected
        if client is not None:
            await client.close()
