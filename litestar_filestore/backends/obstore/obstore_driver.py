"""The driver for the stores of obstore: S3, Google Cloud Storage, Azure Blob Storage, HTTP and obstore's memory."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from litestar_filestore.backends.obstore import s3_beside_obstore as s3
from litestar_filestore.backends.obstore.gets import SHARED_BYTES, ReadAhead, open_version, read, read_async
from litestar_filestore.backends.obstore.kinds import quoted, user_metadata
from litestar_filestore.backends.obstore.obstore_errors import is_range_refusal, translate_obstore_error
from litestar_filestore.backends.obstore.puts import (
    MAX_CONCURRENCY,
    PART_BYTES,
    Counted,
    PartPlan,
    Pieces,
    gather,
    gather_async,
    part_buffers,
    plan_parts,
    upload_async,
)
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import Capability, ObjectInfo
from litestar_filestore.errors import (
    AccessDeniedError,
    ConfigurationError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence

    from obstore import GetOptions, ListStream, ObjectMeta, PutResult
    from obstore.store import ObjectStore

    from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver
    from litestar_filestore.backends.obstore.gets import StoredVersion
    from litestar_filestore.backends.obstore.kinds import Kind
    from litestar_filestore.core.types import Block, FormPolicy, Part, PutOptions, SignedAnswer, SignedForm, SignMethod

__all__ = ("ObstoreDriver",)

_IN_BULK = 1000
"""Objects passed to obstore at a time: as many as S3 deletes in one request. Given more, obstore sends many requests at
once, and the last of them may wait longer than a request is allowed to take."""
_AT_A_TIME = 16
"""Requests in flight when objects are deleted one by one."""
_PAGE = 1000
_ABSENT = f"{RESERVED_SEGMENT}/absent"
_FIRST_BYTE: GetOptions = {"range": (0, 1)}
_REFUSED = (
    "The store refuses the account everything: give it the permissions to read, write and delete, or check the "
    "credentials and the bucket's name. An account that only reads needs the permission to list as well"
)
_REFUSALS = (FileNotFoundError, exceptions.PermissionDeniedError)
_AZURE_KEY = re.compile(r"[A-Za-z0-9/._~+&()'-]*")
_GCS_MISTAKEN = re.compile(r"[%?#]")
_used_in: int | None = None
"""Id of the process in which obstore was first used."""


class ObstoreDriver(Driver):
    """Objects in a bucket, a container or on an HTTP server.

    Content that fits in one part (8 MiB by default) is put in one request. ``overwrite=False`` is atomic up to that
    size, except on HTTP servers: of many puts to one key, exactly one wins. Above that size the driver looks first and
    then uploads, because a conditional put would hold the whole content in memory.

    Larger content is uploaded in parts, `max_concurrency` of them at a time. An object has at most 10,000 parts, so
    content of unknown size is limited to 10,000 times the size of a part, 78 GiB by default.
    """

    name: ClassVar[str] = "obstore"

    def __init__(
        self,
        store: ObjectStore | None,
        kind: Kind,
        *,
        opener: Callable[[], ObjectStore] | None = None,
        prefix: str = "",
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
    ) -> None:
        """Use a store.

        Args:
            store: The store; ``None`` leaves it to `opener`.
            kind: What this kind of store can do.
            opener: Makes the store when it is needed. With an opener, `close` drops the store and its connections;
                without one they belong to the caller.
            prefix: Folder in which `clean` looks for interrupted uploads.
            part_bytes: Size of the parts of an upload in bytes; less than 5 MiB is taken as 5 MiB.
            max_concurrency: Parts in flight.
        """
        self._store = store
        self._opener = opener
        self._kind = kind
        self._prefix = prefix
        self._part_bytes = part_bytes or PART_BYTES
        self._max_concurrency = max_concurrency or MAX_CONCURRENCY
        self._read_ahead = ReadAhead(SHARED_BYTES)
        self.part_buffers = part_buffers(self._part_bytes if kind.multipart else None, self._max_concurrency)
        self.protocol = kind.protocol
        self.part_limits = s3.part_limits_of(store)
        self.capabilities = kind.capabilities | (s3.part_abilities_of(store) if self.part_limits else Capability.NONE)
        self._beside: tuple[s3.Bucket, FSSpecDriver] | None = None

    @property
    def store(self) -> ObjectStore:
        """The store underneath, made now if necessary.

        Raises:
            ConfigurationError: If it cannot be made, or if this process was forked from one that has used obstore.
        """
        _check_process()
        if self._store is None:
            if self._opener is None:
                raise ConfigurationError("A driver needs a store, or an opener of one")
            self._store = self._opener()
        return self._store

    @property
    def place(self) -> str:
        """Bucket or container, and the folder in it."""
        if isinstance(self.store, HTTPStore):
            return self.store.url.rpartition("@")[2]
        config: Any = getattr(self.store, "config", {})
        folder = getattr(self.store, "prefix", None)
        return "/".join(filter(None, (config.get("bucket") or config.get("container_name"), folder)))

    # -- writing

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Put short content in one request, and long content in parts."""
        plan = self._plan(options)
        pieces = gather(blocks, plan.part_bytes if self._kind.multipart else None)
        if pieces.complete:
            return self._put_info(path, pieces.size, self._put_whole(path, pieces, options), options)
        if not options.overwrite:
            self._refuse_existing(path)
        counted = Counted(plan)
        result = obstore.put(self.store, path, counted.all(pieces, blocks), **self._parts(options, plan))
        return self._put_info(path, counted.size, result, options)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put short content in one request, and long content in parts."""
        plan = self._plan(options)
        pieces = await gather_async(blocks, plan.part_bytes if self._kind.multipart else None)
        if pieces.complete:
            return self._put_info(path, pieces.size, await self._put_whole_async(path, pieces, options), options)
        if not options.overwrite:
            await self._refuse_existing_async(path)
        counted = Counted(plan)
        result = await upload_async(
            partial(obstore.put_async, self.store, path, **self._parts(options, plan)), pieces, blocks, counted
        )
        return self._put_info(path, counted.size, result, options)

    def _put_whole(self, path: str, pieces: Pieces, options: PutOptions) -> PutResult:
        try:
            return obstore.put(self.store, path, pieces.blocks, **self._whole(options))
        except NotImplementedError:  # the store was made with conditional_put="disabled"
            self._refuse_existing(path)
            return obstore.put(self.store, path, pieces.blocks, **self._whole(options, mode="overwrite"))

    async def _put_whole_async(self, path: str, pieces: Pieces, options: PutOptions) -> PutResult:
        try:
            return await obstore.put_async(self.store, path, pieces.blocks, **self._whole(options))
        except NotImplementedError:
            await self._refuse_existing_async(path)
            return await obstore.put_async(self.store, path, pieces.blocks, **self._whole(options, mode="overwrite"))

    def _plan(self, options: PutOptions) -> PartPlan:
        return plan_parts(options, self._part_bytes, self._max_concurrency)

    def _whole(self, options: PutOptions, mode: str | None = None) -> dict[str, Any]:
        mode = mode or ("overwrite" if options.overwrite else "create")
        return {"attributes": self._kind.attributes(options), "mode": mode, "use_multipart": False}

    def _parts(self, options: PutOptions, plan: PartPlan) -> dict[str, Any]:
        return {
            "attributes": self._kind.attributes(options),
            "use_multipart": True,
            "chunk_size": plan.part_bytes,
            "max_concurrency": plan.max_concurrency,
        }

    def _put_info(self, path: str, size: int, result: PutResult, options: PutOptions) -> ObjectInfo:
        attributes = self._kind.attributes(options) or {}
        return ObjectInfo(
            key=path,
            size=size,
            etag=quoted(result["e_tag"]),
            version_id=result["version"],
            content_type=attributes.get("Content-Type"),
            metadata=user_metadata(attributes),
        )

    def _s3fs(self, bucket: s3.Bucket) -> FSSpecDriver:
        """Return what puts parts into the bucket, with credentials that may be others than last time."""
        if self._beside is None or self._beside[0] != bucket:
            self._beside = bucket, s3.parts_driver(bucket)
        return self._beside[1]

    async def _s3fs_async(self) -> FSSpecDriver:
        return self._s3fs(await s3.bucket_of_async(_s3(self.store), ""))

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Begin a multipart upload to S3, through s3fs."""
        return await (await self._s3fs_async()).begin_parts_async(path, options)

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Send a part to S3, which is gathered in memory."""
        return await (await self._s3fs_async()).put_part_async(path, upload, number, offset, blocks, size=size)

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Complete a multipart upload to S3."""
        return await (await self._s3fs_async()).finish_parts_async(path, upload, parts, options)

    def abandon_parts(self, path: str, upload: str) -> None:
        """Abort a multipart upload to S3."""
        self._s3fs(s3.bucket_of(_s3(self.store), "")).abandon_parts(path, upload)

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """Abort a multipart upload to S3."""
        await (await self._s3fs_async()).abandon_parts_async(path, upload)

    async def sign_part_async(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Return a URL to PUT one part into S3."""
        return await (await self._s3fs_async()).sign_part_async(path, upload, number, expires_in=expires_in, size=size)

    async def list_parts_async(self, path: str, upload: str) -> Sequence[Part]:
        """Return the parts that have come to S3."""
        return await (await self._s3fs_async()).list_parts_async(path, upload)

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Return, and perhaps set, the rules of an S3 bucket for origins."""
        if Capability.PARTS not in self.capabilities:
            return await super().cors_async(rules)
        return await (await self._s3fs_async()).cors_async(rules)

    async def sign_form_async(self, path: str, policy: FormPolicy) -> SignedForm:
        """Return a form that puts an object into S3."""
        return await (await self._s3fs_async()).sign_form_async(path, policy)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete in bulk, or one by one if that fails for some of the objects."""
        failures: list[Exception] = []
        for some in _slices(paths, _IN_BULK):
            try:
                obstore.delete(self.store, some)
            except Exception as error:
                if not _concerns_one(error):
                    raise
                failures.extend(_delete_each(self.store, some))
        _raise_first(failures)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Delete in bulk, or one by one if that fails for some of the objects."""
        failures: list[Exception] = []
        for some in _slices(paths, _IN_BULK):
            try:
                await obstore.delete_async(self.store, some)
            except Exception as error:
                if not _concerns_one(error):
                    raise
                failures.extend(await _delete_each_async(self.store, some))
        _raise_first(failures)

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the store. S3 cannot refuse to overwrite, so there the driver looks first."""
        try:
            obstore.copy(self.store, source, target, overwrite=overwrite)
        except exceptions.NotSupportedError:
            self._refuse_existing(target)
            obstore.copy(self.store, source, target)

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the store. S3 cannot refuse to overwrite, so there the driver looks first."""
        try:
            await obstore.copy_async(self.store, source, target, overwrite=overwrite)
        except exceptions.NotSupportedError:
            await self._refuse_existing_async(target)
            await obstore.copy_async(self.store, source, target)

    # -- reading

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Read range by range, in blocks of up to 4 MiB."""
        return read(self.store, path, start, end)

    def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Read range by range, three ahead of a consumer that keeps up, in blocks of up to half a MiB."""
        return read_async(self.store, path, start, end, self._read_ahead)

    async def open_version_async(self, path: str, start: int, end: int | None) -> StoredVersion | None:
        """Request the first bytes: the response describes the object, so that no request for that is needed before."""
        if end is not None or type(self).get_async is not ObstoreDriver.get_async:
            return None  # the caller knows the object already, or may not read it; or a subclass reads otherwise
        return await open_version(self.store, path, start, self._read_ahead, partial(self._kind.info, path))

    def head(self, path: str) -> ObjectInfo:
        """Ask for the object without its content."""
        try:
            result = obstore.get(self.store, path, options={"head": True})
        except _REFUSALS as error:
            if self._kind.explains:
                _explain(self.store, path, error)
            raise
        return self._kind.info(path, result.meta, result.attributes)

    async def head_async(self, path: str) -> ObjectInfo:
        """Ask for the object without its content."""
        try:
            result = await obstore.get_async(self.store, path, options={"head": True})
        except _REFUSALS as error:
            if self._kind.explains:
                await _explain_async(self.store, path, error)
            raise
        return self._kind.info(path, result.meta, result.attributes)

    def _refuse_existing(self, path: str) -> None:
        try:
            obstore.head(self.store, path)
        except FileNotFoundError:
            return
        except exceptions.PermissionDeniedError as error:
            _explain(self.store, path, error)
            raise
        raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")

    async def _refuse_existing_async(self, path: str) -> None:
        try:
            await obstore.head_async(self.store, path)
        except FileNotFoundError:
            return
        except exceptions.PermissionDeniedError as error:
            await _explain_async(self.store, path, error)
            raise
        raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Read page by page, 1,000 objects at a time."""
        store = self.store
        folder = _folder(store)
        for page in _pages(store, prefix):
            for meta in page:
                yield self._kind.info(meta["path"].removeprefix(folder), meta)

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Read page by page, 1,000 objects at a time."""
        store = self.store
        folder = _folder(store)
        async for page in _pages(store, prefix):
            for meta in page:
                yield self._kind.info(meta["path"].removeprefix(folder), meta)

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL signed with the backend's credentials.

        A PUT to Azure needs the header ``x-ms-blob-type: BlockBlob``.
        """
        return obstore.sign(_signer(self.store, path), method, path, timedelta(seconds=expires_in))

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """`sign` without blocking the event loop: credentials may have to be fetched first."""
        return await obstore.sign_async(_signer(self.store, path), method, path, timedelta(seconds=expires_in))

    def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Return a URL to GET an S3 object that fixes the response headers, signed with botocore."""
        bucket = s3.bucket_of(_s3(self.store), "")
        url = self.sign(path, method="GET", expires_in=answer.expires_in)
        return s3.sign_again(url, bucket, answer)

    async def sign_answer_async(self, path: str, answer: SignedAnswer) -> str:
        """`sign_answer` without blocking the event loop."""
        bucket = await s3.bucket_of_async(_s3(self.store), "")
        url = await self.sign_async(path, method="GET", expires_in=answer.expires_in)
        return await run_blocking(partial(s3.sign_again, url, bucket, answer))

    # -- life

    def start(self) -> None:
        """Check that the bucket exists and that we have access."""
        if self._kind.probed:
            _probe(self.store)

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        if self._kind.probed:
            await _probe_async(self.store)

    def close(self) -> None:
        """Drop the store: its connections close as soon as no request needs them."""
        if self._beside is not None:
            self._beside[1].close()
        if self._opener is not None:
            self._store = None

    async def close_async(self) -> None:
        """Drop the store: its connections close as soon as no request needs them."""
        if self._beside is not None:
            await self._beside[1].close_async()
        if self._opener is not None:
            self._store = None

    def clean(self, older_than: float) -> int:
        """Abort the pending uploads of an S3 bucket below the prefix.

        Azure itself discards the blocks of an unfinished upload after a week. The other stores keep nothing, except
        Google, where the bucket needs a rule that aborts incomplete uploads.
        """
        store = self.store
        if not isinstance(store, S3Store):
            return 0
        return s3.abort_pending(s3.bucket_of(store, self._prefix), older_than)

    async def clean_async(self, older_than: float) -> int:
        """`clean` in a worker thread."""
        store = self.store
        if not isinstance(store, S3Store):
            return 0
        bucket = await s3.bucket_of_async(store, self._prefix)
        return await run_blocking(partial(s3.abort_pending, bucket, older_than))

    def translate(self, error: Exception) -> StorageError | None:
        """Return what an exception of obstore or botocore means."""
        beside = self._beside[1].translate(error) if self._beside is not None else None
        return (
            translate_obstore_error(error) or beside or s3.translate_botocore_error(error) or super().translate(error)
        )


def _check_process() -> None:
    """Refuse a call that would hang: a fork leaves the threads of obstore 0.12 behind, and new stores get no others."""
    global _used_in  # noqa: PLW0603  # obstore has one pool of threads for a whole process
    pid = os.getpid()
    if _used_in is None:
        _used_in = pid
    elif _used_in != pid:
        raise ConfigurationError(
            "obstore was used before this process was forked, and its threads have stayed behind: do not use the "
            "backend before the fork (gunicorn --preload, prefork workers), start processes with 'spawn', or take "
            "FSSpecBackend"
        )


def _delete_each(store: ObjectStore, paths: Sequence[str]) -> Iterator[Exception]:
    for path in paths:
        try:
            obstore.delete(store, path)
        except Exception as error:  # noqa: BLE001  # raised by the caller, when all were tried
            yield error


async def _delete_each_async(store: ObjectStore, paths: Sequence[str]) -> list[Exception]:
    failures: list[Exception] = []
    for some in _slices(paths, _AT_A_TIME):
        outcomes = await asyncio.gather(*(obstore.delete_async(store, path) for path in some), return_exceptions=True)
        failures.extend(outcome for outcome in outcomes if isinstance(outcome, Exception))
    return failures


def _slices(paths: Sequence[str], length: int) -> Iterator[list[str]]:
    for start in range(0, len(paths), length):
        yield list(paths[start : start + length])


def _concerns_one(error: Exception) -> bool:
    """Return whether an error concerns a single object; any other would occur again for every object.

    Azure and HTTP servers complain about missing objects. obstore reports only the first one, and does not say whether
    it went on to the others.
    """
    meaning = translate_obstore_error(error)
    return isinstance(meaning, (ObjectNotFoundError, AccessDeniedError)) or type(meaning) is StorageError


def _raise_first(failures: Sequence[Exception]) -> None:
    for failure in failures:
        if not isinstance(translate_obstore_error(failure), ObjectNotFoundError):
            raise failure


def _explain(store: ObjectStore, path: str, error: Exception) -> None:
    """Raise the error that a GET is answered with.

    The response to a HEAD has no body: a missing bucket looks like a missing object, and a wrong secret like a missing
    permission.
    """
    try:
        obstore.get(store, path, options=_FIRST_BYTE)
    except Exception as told:
        if not is_range_refusal(told):
            raise told from error


async def _explain_async(store: ObjectStore, path: str, error: Exception) -> None:
    try:
        await obstore.get_async(store, path, options=_FIRST_BYTE)
    except Exception as told:
        if not is_range_refusal(told):
            raise told from error


def _pages(store: ObjectStore, prefix: str) -> ListStream[Sequence[ObjectMeta]]:
    # The other overloads of obstore.list return tables of a library that is not installed.
    return obstore.list(store, prefix or None, chunk_size=_PAGE)  # pyright: ignore[reportUnknownMemberType]


def _folder(store: ObjectStore) -> str:
    """Return the path of an HTTP URL, which obstore 0.12.1 leaves in front of the keys that it lists."""
    path = unquote(urlsplit(store.url).path).strip("/") if isinstance(store, HTTPStore) else ""
    return f"{path}/" if path else ""


def _probe(store: ObjectStore) -> None:
    """Request an object that cannot exist: the response tells whether the bucket exists and what access we have.

    An account without permission to list gets "forbidden" for a missing object, and so does everybody for anything in
    somebody else's bucket. An attempt to delete that object tells the two apart.

    Raises:
        Exception: If there is no bucket, the credentials are wrong or refused, or the store cannot be reached.
    """
    try:
        obstore.get(store, _ABSENT, options=_FIRST_BYTE)
    except Exception as error:
        if _is_harmless(error):
            return
        if not _is_refusal(error):
            raise
        _probe_delete(store)


def _probe_delete(store: ObjectStore) -> None:
    try:
        obstore.delete(store, _ABSENT)
    except Exception as error:
        if _is_refusal(error):
            raise AccessDeniedError(_REFUSED) from error
        if not _is_harmless(error):
            raise


async def _probe_async(store: ObjectStore) -> None:
    try:
        await obstore.get_async(store, _ABSENT, options=_FIRST_BYTE)
    except Exception as error:
        if _is_harmless(error):
            return
        if not _is_refusal(error):
            raise
        await _probe_delete_async(store)


async def _probe_delete_async(store: ObjectStore) -> None:
    try:
        await obstore.delete_async(store, _ABSENT)
    except Exception as error:
        if _is_refusal(error):
            raise AccessDeniedError(_REFUSED) from error
        if not _is_harmless(error):
            raise


def _is_harmless(error: Exception) -> bool:
    return is_range_refusal(error) or isinstance(
        translate_obstore_error(error), (ObjectNotFoundError, UnsupportedOperationError)
    )


def _is_refusal(error: Exception) -> bool:
    return isinstance(translate_obstore_error(error), AccessDeniedError)


def _s3(store: ObjectStore) -> S3Store:
    if not isinstance(store, S3Store):
        raise UnsupportedOperationError(
            "Signed URLs of this kind of store cannot set the headers of the answer: use storages.url_for()"
        )
    return store


def _signer(store: ObjectStore, path: str) -> S3Store | GCSStore | AzureStore:
    """Return the store if it signs this key in a way that the service accepts.

    URLs for Google always name ``storage.googleapis.com``, whatever the endpoint.

    Measured with obstore 0.12.1: for Azure it escapes keys once too often, so Azure refuses the URL. For Google it does
    not escape them at all, so a key with a question mark is signed as another, shorter key.
    """
    if not isinstance(store, (S3Store, GCSStore, AzureStore)):
        raise UnsupportedOperationError("This kind of store has no signed URLs of its own: use storages.url_for()")
    whole = f"{store.prefix}/{path}" if store.prefix else path
    if isinstance(store, AzureStore) and _AZURE_KEY.fullmatch(whole) is None:
        raise UnsupportedOperationError(
            "obstore signs URLs for Azure correctly only for keys of A-Z a-z 0-9 / . _ ~ + & ( ) ' -; use such a key"
        )
    if isinstance(store, GCSStore) and _GCS_MISTAKEN.search(whole):
        raise UnsupportedOperationError(
            "obstore signs URLs for Google wrongly for keys with % ? or #; use a key without them"
        )
    return store
