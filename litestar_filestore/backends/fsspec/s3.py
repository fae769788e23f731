"""S3 through s3fs: uses its credentials and connections, but sends its own requests.

s3fs's file operations cut keys at ``?versionId=``, publish partial content when a write fails, retry every request 25
times, and sign links in a way that S3 has abandoned. The client underneath does all of this correctly.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

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
from litestar_filestore.core.part_objects import unknown_upload
from litestar_filestore.core.types import (
    PARTS_KEPT_SECONDS,
    Capability,
    ObjectInfo,
    Part,
    PartBuffers,
    PartLimits,
    SignedForm,
)
from litestar_filestore.errors import (
    ObjectChangedError,
    ObjectExistsError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from litestar_filestore.core.types import FormPolicy, PutOptions, SignedAnswer, SignMethod

__all__ = (
    "BUFFERS",
    "S3PartCopy",
    "S3Reader",
    "S3Store",
    "S3Upload",
    "code_of",
    "takes_forms",
)

_MIN_PART_BYTES = 5 * 1024 * 1024
_MAX_PART_BYTES = 5 * 1024**3
FIRST_NUMBERS = 100
"""Part numbers that only puts use. An upload without any of them is an object in parts, which `clean` spares."""
_PART_BYTES = 5 * 1024 * 1024
"""Smaller than elsewhere: botocore copies each part that is in flight."""
_MAX_PARTS = 9_000
"""S3 accepts 10,000 parts; some are kept in reserve, in case the announced length is too low."""
_CONCURRENCY = 4
BUFFERS = PartBuffers(part_bytes=_PART_BYTES, max_concurrency=_CONCURRENCY, copies=2)
"""Memory that a put uses; botocore may hold a copy of each part in flight."""
_COPY_PART_BYTES = 1024**3


_FORMLESS = (".r2.cloudflarestorage.com", ".backblazeb2.com")
"""Stores that refuse POST of forms: https://developers.cloudflare.com/r2/api/s3/presigned-urls/, and Backblaze's B2."""


def takes_forms(endpoint: str | None) -> bool:
    """Return whether the store at this URL takes plain HTML forms; Amazon's and its likes do."""
    return not (urlsplit(endpoint or "").hostname or "").endswith(_FORMLESS)


def code_of(error: Exception) -> str:
    """Return the error code of a response from S3, ``""`` for other errors."""
    response: Any = getattr(error, "response", None)
    try:
        return str(response["Error"]["Code"])
    except (TypeError, KeyError):
        return ""


class S3Upload(PartUpload):
    """A put into S3."""

    def __init__(self, store: S3Store, path: str, options: PutOptions) -> None:
        """Prepare to put `path`."""
        size = max(options.part_bytes or _PART_BYTES, _MIN_PART_BYTES, (options.size or 0) // _MAX_PARTS)
        super().__init__(size, options.max_concurrency or _CONCURRENCY)
        self._store = store
        self._path = path
        self._where = store.where(path)
        self._options = options
        self._condition = {} if options.overwrite else {"IfNoneMatch": "*"}
        self._attributes: dict[str, Any] = {"Metadata": dict(options.metadata)}
        if options.content_type is not None:
            self._attributes["ContentType"] = options.content_type
        self._upload: dict[str, Any] | None = None
        self._etags: dict[int, str] = {}

    def part_size(self, number: int) -> int:
        """Return the size of a part; Cloudflare's R2 needs equal parts, for which s3fs has an option."""
        return super().part_size(0 if self._store.fs.fixed_upload_size else number)

    async def put_whole(self, content: bytes) -> ObjectInfo:
        """Store the content with one request."""
        self.sent = len(content)
        return await self._publish("put_object", **self._where, **self._attributes, Body=content)

    async def begin(self) -> None:
        """Begin a multipart upload, if it can succeed."""
        if not self._options.overwrite:
            await self._store.refuse_existing(self._path)
        answer = await self._store.request("create_multipart_upload", **self._where, **self._attributes)
        self._upload = {**self._where, "UploadId": answer["UploadId"]}

    async def send(self, number: int, offset: int, part: bytes) -> None:
        """Send a part."""
        del offset
        answer = await self._store.request("upload_part", **self._upload or {}, PartNumber=number + 1, Body=part)
        self._etags[number + 1] = answer["ETag"]

    async def complete(self) -> ObjectInfo:
        """Publish the parts."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(self._etags.items())]
        upload = self._upload or {}
        info = await self._publish("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        self._upload = None
        return info

    async def begin_parts(self) -> str:
        """Begin an upload whose parts come from elsewhere, and return its id."""
        await self.begin()
        return str((self._upload or {})["UploadId"])

    async def finish_parts(self, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        """Publish the parts of such an upload."""
        self._upload = {**self._where, "UploadId": upload}
        self.sent = self._options.size or 0
        if not self._options.overwrite:
            await self._store.refuse_existing(self._path)
        # Ceph answers the completion of an unknown upload with an internal error.
        await self._store.request("list_parts", **self._upload, MaxParts=1)
        if parts:
            self._etags = {FIRST_NUMBERS + part.number: part.receipt for part in parts}
            return await self.complete()
        info = await self.put_whole(b"")  # S3 makes no object of no parts
        await self.discard()
        return info

    async def discard(self) -> None:
        """Remove the parts."""
        if self._upload is not None:
            await self._store.abort(**self._upload)

    async def _publish(self, operation: str, **arguments: Any) -> ObjectInfo:
        try:
            answer = await with_patience(
                lambda: self._store.request(operation, **arguments, **self._condition), _is_conflict
            )
        except Exception as error:
            if self._condition and code_of(error) == "PreconditionFailed":
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise
        return ObjectInfo(
            key=self._path,
            size=self.sent,
            etag=answer.get("ETag") or None,
            version_id=answer.get("VersionId"),
            content_type=self._options.content_type,
            metadata=self._options.metadata,
        )


def _meaning_of_parts(error: Exception) -> Exception:
    """Return the error for a request that names an upload and its parts; others as they are."""
    code = code_of(error)
    if code == "NoSuchUpload":
        return unknown_upload()
    if code in {"InvalidPart", "InvalidPartOrder"}:
        return ObjectChangedError("A part has been replaced, or is not in the store: put it again")
    return error


def _is_conflict(error: Exception) -> bool:
    # Of two conditional writes at the same time, S3 asks one to try again.
    return code_of(error) == "ConditionalRequestConflict"


class S3Reader(RangeReader):
    """A read from S3."""

    def __init__(self, store: S3Store, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        super().__init__(start, end)
        self._store = store
        self._where = store.where(path)

    async def fetch(self, offset: int, length: int, version: Any) -> RangePart:
        """Get a range, of exactly the version whose entity tag is known."""
        condition = {} if version is None else {"IfMatch": version}
        try:
            return await with_patience(lambda: self._get(offset, length, condition), _broke_off)
        except Exception as error:
            code = code_of(error)
            if version is not None and code in {"PreconditionFailed", "NoSuchKey", "InvalidRange"}:
                raise ObjectChangedError("The object was replaced while it was read: read it again") from error
            if code == "InvalidRange":
                raise RangeMissingError from error
            raise

    async def _get(self, offset: int, length: int, condition: dict[str, Any]) -> RangePart:
        requested = f"bytes={offset}-{offset + length - 1}"
        answer = await self._store.request("get_object", **self._where, **condition, Range=requested)
        async with answer["Body"] as body:
            size = answer["ContentLength"]
            if (span := answer.get("ContentRange")) is not None:
                size = int(span.rpartition("/")[2])
            elif offset or size > length:
                raise UnsupportedOperationError(
                    "This S3 server ignores ranges, so large objects cannot be read: use one that sends ranges"
                )
            return RangePart(await body.read(), size, answer["ETag"])


def _broke_off(error: Exception) -> bool:
    # The client itself repeats requests that get no response, but not those whose response ends early.
    return is_named(error, "ClientPayloadError", "ResponseStreamingError")


class S3PartCopy:
    """A copy of an object that is too large for one request."""

    def __init__(self, store: S3Store, source: str, info: ObjectInfo, target: str) -> None:
        """Prepare to copy `source`, which `info` describes, to `target`."""
        self._store = store
        self._source = {"CopySource": store.where(source), "CopySourceIfMatch": info.etag}
        self._where = store.where(target)
        self._info = info
        self._upload: dict[str, Any] | None = None

    async def run(self) -> None:
        """Copy all parts, one after the other, and publish them."""
        attributes = {"ContentType": self._info.content_type, "Metadata": dict(self._info.metadata)}
        answer = await self._store.request("create_multipart_upload", **self._where, **attributes)
        self._upload = {**self._where, "UploadId": answer["UploadId"]}
        parts: list[dict[str, Any]] = []
        for offset in range(0, self._info.size, _COPY_PART_BYTES):
            last = min(offset + _COPY_PART_BYTES, self._info.size) - 1
            part = {**self._upload, **self._source, "PartNumber": len(parts) + 1}
            answer = await self._store.request("upload_part_copy", **part, CopySourceRange=f"bytes={offset}-{last}")
            parts.append({"PartNumber": part["PartNumber"], "ETag": answer["CopyPartResult"]["ETag"]})
        await self._store.request("complete_multipart_upload", **self._upload, MultipartUpload={"Parts": parts})
        self._upload = None

    async def discard(self) -> None:
        """Remove the parts that were copied."""
        if self._upload is not None:
            await self._store.abort(**self._upload)


# ruff: noqa: SLF001 - s3fs has no public names for its client, nor for what it knows about buckets and parameters


_COPY_BYTES = 5 * 1024**3
"""Largest object that one request copies."""
_MISSING = frozenset({"404", "NoSuchKey"})


class S3Store(ObjectStore):
    """Objects in S3.

    `PUT_IF_ABSENT` holds for all sizes where the server knows conditional completion, as Amazon's does, and for what
    fits into one part elsewhere: 8 MiB, or the `part_bytes` of the put.
    """

    capabilities: ClassVar[Capability] = (
        ObjectStore.capabilities | Capability.PARTS | Capability.SIGN_PARTS | Capability.SIGN_FORM
    )
    part_buffers: ClassVar[PartBuffers | None] = BUFFERS

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Add what s3fs's client is missing."""
        config: dict[str, Any] = {
            "signature_version": "s3v4",  # s3fs signs links with version 2, which Amazon has abandoned
            "connect_timeout": 5,
            "read_timeout": 30,
            "retries": {"mode": "standard", "total_max_attempts": 3},
            "max_pool_connections": 50,
            # Few servers other than Amazon's support digests in the new trailer form.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            **(options.get("config_kwargs") or {}),
        }
        return {**options, "config_kwargs": config}

    @classmethod
    def capabilities_with(cls, options: dict[str, Any]) -> Capability:
        """Return what the store can do: it does not sign without credentials."""
        of_client: dict[str, Any] = options.get("client_kwargs") or {}
        endpoint = options.get("endpoint_url") or of_client.get("endpoint_url")
        capabilities = cls.capabilities if takes_forms(endpoint) else cls.capabilities & ~Capability.SIGN_FORM
        return capabilities & ~SIGNING if options.get("anon") else capabilities

    @classmethod
    def part_limits_with(cls, options: dict[str, Any]) -> PartLimits | None:
        """Return the limits of S3; an upload has 10,000 parts. R2 wants equal parts, for which s3fs has an option."""
        return PartLimits(
            min_bytes=_MIN_PART_BYTES,
            max_bytes=_MAX_PART_BYTES,
            max_parts=10_000 - FIRST_NUMBERS,
            equal_sizes=bool(options.get("fixed_upload_size")),
            keeps_seconds=PARTS_KEPT_SECONDS,
        )

    @classmethod
    def adopts(cls, options: dict[str, Any]) -> bool:
        """Return whether the caller has chosen how links are signed, because s3fs's default does not work."""
        return "signature_version" in (options.get("config_kwargs") or {})

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`, whose root or prefix begins with the bucket."""
        super().__init__(fs, place)
        self._bucket_seen = False

    def where(self, path: str) -> dict[str, str]:
        """Return the arguments that name an object in a request."""
        # s3fs knows where the name of a bucket ends: those of access points contain slashes.
        bucket, key = self.fs._find_bucket_key(self.place.root + path)
        return {"Bucket": bucket, "Key": key}

    async def request(self, operation: str, **arguments: Any) -> Any:
        """Send a request of S3's API, with the user's settings for such requests (encryption, owner ...)."""
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

    async def begin_parts(self, path: str, options: PutOptions) -> str:
        """Begin a multipart upload."""
        return await S3Upload(self, path, options).begin_parts()

    async def put_part(self, path: str, upload: str, number: int, offset: int, content: bytes) -> Part:
        """Send a part."""
        where = {**self.where(path), "UploadId": upload, "PartNumber": FIRST_NUMBERS + number}
        try:
            answer = await self.request("upload_part", **where, Body=content)
        except Exception as error:
            raise _meaning_of_parts(error) from error
        return Part(number, offset, len(content), answer["ETag"])

    async def finish_parts(self, path: str, upload: str, parts: Sequence[Part], options: PutOptions) -> ObjectInfo:
        """Complete a multipart upload."""
        try:
            return await S3Upload(self, path, options).finish_parts(upload, parts)
        except Exception as error:
            raise _meaning_of_parts(error) from error

    async def abandon_parts(self, path: str, upload: str) -> None:
        """Abort a multipart upload."""
        await self.abort(**self.where(path), UploadId=upload)

    async def head(self, path: str) -> ObjectInfo:
        """Return the info of one object.

        The response to HEAD does not say whether key or bucket is missing, so the bucket is checked once to tell.
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
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")

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
            if not entry["Key"].endswith("/")  # folder markers left by consoles
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
        return await self._sign("get_object" if method == "GET" else "put_object", self.where(path), expires_in)

    async def _sign(self, operation: str, arguments: dict[str, Any], expires_in: int) -> str:
        client = await self._signer(arguments["Bucket"])
        url: str = await client.generate_presigned_url(operation, Params=arguments, ExpiresIn=expires_in)
        return url

    async def _signer(self, bucket: str) -> Any:
        if self.fs.anon:
            raise UnsupportedOperationError("Anonymous access to S3 cannot sign URLs: give the backend credentials")
        await self.fs.set_session()
        return await self.fs.get_s3(bucket)

    async def sign_part(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Return a URL to PUT one part; with a `size`, S3 refuses any other Content-Length."""
        length = {} if size is None else {"ContentLength": size}
        part = {**self.where(path), "UploadId": upload, "PartNumber": FIRST_NUMBERS + number, **length}
        return await self._sign("upload_part", part, expires_in)

    async def list_parts(self, path: str, upload: str) -> Sequence[Part]:
        """Return the parts that have come, a thousand with each request."""
        parts: list[Part] = []
        end, more = 0, dict[str, Any]()
        while True:
            try:
                answer = await self.request("list_parts", **self.where(path), UploadId=upload, **more)
            except Exception as error:
                raise _meaning_of_parts(error) from error
            for entry in answer.get("Parts", ()):
                parts.append(Part(entry["PartNumber"] - FIRST_NUMBERS, end, entry["Size"], entry["ETag"]))
                end += entry["Size"]
            if not answer.get("IsTruncated"):
                return parts
            more = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    async def cors(self, rules: Sequence[Mapping[str, Any]] | None) -> Sequence[Mapping[str, Any]]:
        """Return the CORS rules of the bucket, after setting `rules` if there are any."""
        bucket = {"Bucket": self.where("")["Bucket"]}
        if rules is not None:
            await self.request("put_bucket_cors", **bucket, CORSConfiguration={"CORSRules": list(rules)})
        try:
            answer = await self.request("get_bucket_cors", **bucket)
        except Exception as error:
            if code_of(error) == "NoSuchCORSConfiguration":
                return []
            raise
        found: list[dict[str, Any]] = answer.get("CORSRules", [])
        return found

    async def sign_form(self, path: str, policy: FormPolicy) -> SignedForm:
        """Return a form with a signed policy: one key, one media type, a limited length, at most one redirect."""
        where, fields = self.where(path), {"Content-Type": policy.content_type}
        if policy.redirect is not None:
            fields["success_action_redirect"] = policy.redirect
        fixed = [{name: value} for name, value in fields.items()]
        client = await self._signer(where["Bucket"])
        signed = await client.generate_presigned_post(
            **where,
            Fields=fields,
            Conditions=[*fixed, ["content-length-range", 0, policy.max_bytes]],
            ExpiresIn=policy.expires_in,
        )
        return SignedForm(url=signed["url"], fields=signed["fields"])

    async def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Return a URL to GET an object that fixes the response headers; its lifetime begins now."""
        headers = {
            "ResponseContentDisposition": answer.content_disposition,
            "ResponseContentType": answer.content_type,
        }
        return await self._sign("get_object", {**self.where(path), **headers}, answer.expires_in)

    async def clean(self, older_than: float) -> int:
        """Abort multipart uploads that began long ago."""
        where = self.where(f"{self.place.prefix}/" if self.place.prefix else "")
        bucket, before = {"Bucket": where["Bucket"]}, time.time() - older_than
        count, more = 0, dict[str, Any]()
        while True:
            answer = await self.request("list_multipart_uploads", **bucket, Prefix=where["Key"], **more)
            for entry in answer.get("Uploads", ()):
                upload = {**bucket, "UploadId": entry["UploadId"], "Key": entry["Key"]}
                begun = entry["Initiated"].timestamp()
                if begun <= before and (begun <= time.time() - PARTS_KEPT_SECONDS or not await self._is_kept(upload)):
                    await self.abort(**upload)
                    count += 1
            if not answer.get("IsTruncated"):
                return count
            more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    async def _is_kept(self, upload: dict[str, Any]) -> bool:
        """Return whether an upload is an object in parts, which may wait for its next part for days."""
        try:
            answer = await self.request("list_parts", **upload, MaxParts=1)
        except Exception as error:
            if code_of(error) == "NoSuchUpload":
                return False
            raise
        return any(part["PartNumber"] > FIRST_NUMBERS for part in answer.get("Parts", ()))

    async def abort(self, **upload: Any) -> None:
        """Abort a multipart upload; one that is gone is fine."""
        try:
            await self.request("abort_multipart_upload", **upload)
        except Exception as error:
            if code_of(error) != "NoSuchUpload":
                raise

    async def close(self) -> None:
        """Close the client."""
        client, self.fs._s3 = self.fs._s3, None  # s3fs closes it only when it is garbage-collected
        if client is not None:
            await client.close()
