"""What obstore cannot do on S3, through botocore: fix response headers of links, abort uploads, put single parts.

obstore signs only the host. By adding ``response-content-type``, the holder of such a link could have the file served
as a web page of the bucket's origin. botocore signs such parameters as well.

If a process dies, its upload is neither completed nor aborted, and the parts stay in the bucket: no listing shows them,
but they are paid for every month. obstore cannot see them; botocore can.

obstore has no requests for single parts. s3fs has them, through the asynchronous form of botocore.
"""

from __future__ import annotations

import inspect
import os
import time
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

from obstore.store import S3Store

from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver, Recipe
from litestar_filestore.backends.fsspec.s3 import FIRST_NUMBERS, S3Store as PartsStore
from litestar_filestore.backends.fsspec.store import Place
from litestar_filestore.core.types import PARTS_KEPT_SECONDS, Capability
from litestar_filestore.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    MissingDependencyError,
    StorageError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import S3Credential

    from litestar_filestore.core.types import PartLimits, SignedAnswer

__all__ = (
    "Bucket",
    "abort_pending",
    "bucket_of",
    "bucket_of_async",
    "part_abilities_of",
    "part_limits_of",
    "parts_driver",
    "sign_again",
    "translate_botocore_error",
)

_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

_ENCRYPTION = {"server_side_encryption": "ServerSideEncryption", "sse_kms_key_id": "SSEKMSKeyId"}
"""What new objects are encrypted with: obstore's names and botocore's."""

_CODES: dict[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (BucketNotFoundError, "The bucket does not exist: create it, or mend the backend's URL"),
    "SignatureDoesNotMatch": (AuthenticationError, "The store does not accept the secret key of the backend"),
    "InvalidAccessKeyId": (AuthenticationError, "The store does not know the access key of the backend"),
    "ExpiredToken": (AuthenticationError, "The credentials have expired"),
    "AccessDenied": (
        AccessDeniedError,
        "Aborting uploads needs s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts, s3:AbortMultipartUpload",
    ),
}


class Bucket(NamedTuple):
    """The bucket of an obstore store, in the form that botocore needs."""

    name: str
    prefix: str
    client: dict[str, Any]
    encryption: dict[str, Any] = {}  # noqa: RUF012  # of a tuple, and never changed


def bucket_of(store: S3Store, prefix: str) -> Bucket:
    """Return the bucket of `store` and its credentials; without any, botocore looks for them where obstore does.

    Args:
        store: The store.
        prefix: Folder inside the store's own folder to which the result is limited, or ``""``.

    Raises:
        UnsupportedOperationError: If the credentials can only be fetched asynchronously.
    """
    provider = store.credential_provider
    credential = provider() if provider is not None else None
    if inspect.iscoroutine(credential):
        credential.close()
        raise UnsupportedOperationError(
            "The credential provider of this backend is asynchronous: use the _async form, such as clean_async"
        )
    return _bucket(store, prefix, cast("S3Credential | None", credential))


async def bucket_of_async(store: S3Store, prefix: str) -> Bucket:
    """`bucket_of` for synchronous and asynchronous credential providers."""
    provider = store.credential_provider
    credential = provider() if provider is not None else None
    return _bucket(store, prefix, await credential if inspect.isawaitable(credential) else credential)


def _bucket(store: S3Store, prefix: str, credential: S3Credential | None) -> Bucket:
    config = _config(store)
    name = str(config["bucket"])
    client: dict[str, Any] = {
        "region_name": config.get("region") or _from_environment(_REGION_VARIABLES) or "us-east-1",
        "endpoint_url": _service_of(config),
        "verify": not _is_true((store.client_options or {}).get("allow_invalid_certificates")),
    }
    if credential is not None:
        client |= _keys(credential["access_key_id"], credential["secret_access_key"], credential.get("token"))
    elif "access_key_id" in config:
        client |= _keys(config["access_key_id"], config["secret_access_key"], config.get("session_token"))
    folder = "/".join(part for part in (store.prefix, prefix) if part)
    encryption = {ours: config[theirs] for theirs, ours in _ENCRYPTION.items() if theirs in config}
    return Bucket(name, f"{folder}/" if folder else "", client, encryption)


def _config(store: S3Store) -> dict[str, Any]:
    try:
        return {**store.config}
    except BaseException as error:
        # obstore 0.12.1 panics if a client option is among the others, and a panic is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise UnsupportedOperationError(
            "obstore cannot tell the settings of this store: give options such as allow_http in client_options"
        ) from None


def _keys(access_key: str, secret_key: str, token: str | None) -> dict[str, Any]:
    return {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key, "aws_session_token": token}


def _from_environment(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def _service_of(config: dict[str, Any]) -> str | None:
    """Return the URL of the service; for virtual-hosted-style requests, obstore's URL starts with the bucket."""
    url = config.get("endpoint") or _from_environment(_ENDPOINT_VARIABLES)
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.removeprefix(f"{config['bucket']}.")))


def _is_true(value: object) -> bool:
    return str(value).lower() in {"true", "1", "yes", "on"}


class _Names(NamedTuple):
    """The names of botocore that this module uses."""

    request: Any
    credentials: Any
    auth: Any


def sign_again(url: str, bucket: Bucket, answer: SignedAnswer) -> str:
    """Return a signed URL like `url`; its response has the headers of `answer`.

    Args:
        url: A URL that obstore signed; it has the right host, path and region.
        bucket: The credentials. If it has none, botocore looks for them where obstore does, which may take a while.
        answer: Headers and lifetime.

    Raises:
        UnsupportedOperationError: If botocore is not installed, or there is nothing to sign with.
    """
    names = _botocore()
    parts = urlsplit(url)
    scope = parse_qs(parts.query).get("X-Amz-Credential", [""])[0].split("/")
    if len(scope) < 5:  # noqa: PLR2004  # key/date/region/s3/aws4_request
        raise UnsupportedOperationError("Anonymous access to S3 cannot sign URLs: give the backend credentials")
    request = names.request(
        method="GET",
        url=urlunsplit(parts._replace(query="")),
        params={
            "response-content-disposition": answer.content_disposition,
            "response-content-type": answer.content_type,
        },
    )
    signer = names.auth(_credentials(names, bucket), "s3", scope[-3], expires=answer.expires_in)
    signer.signed_at = datetime.fromtimestamp(answer.signed_at, UTC).strftime(_TIMESTAMP)
    signer.add_auth(request)
    signed: str = request.url
    return signed


def _credentials(names: _Names, bucket: Bucket) -> Any:
    given = bucket.client
    if given.get("aws_access_key_id"):
        return names.credentials(
            given["aws_access_key_id"], given["aws_secret_access_key"], given.get("aws_session_token")
        )
    found = _session().get_credentials()
    if found is None:
        raise UnsupportedOperationError(
            "There are no credentials to sign URLs with: give them to the backend or in the environment"
        )
    return found.get_frozen_credentials()


@cache
def _session() -> Any:
    """Return a session that caches credentials until they expire, so that they are looked up only once."""
    return import_module("botocore.session").Session()


@cache
def _botocore() -> _Names:
    try:
        auth, awsrequest = import_module("botocore.auth"), import_module("botocore.awsrequest")
        credentials = import_module("botocore.credentials")
    except ImportError as error:
        raise UnsupportedOperationError(
            "Links with headers are signed with botocore: pip install 'litestar-filestore[s3]'"
        ) from error

    class PinnedAuth(auth.S3SigV4QueryAuth):  # type: ignore[name-defined,misc]  # the base is found at run time
        """Signs as of a given time instead of now, so that all links made within one window are equal."""

        signed_at = ""

        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = self.signed_at
            super()._modify_request_before_signing(request)  # pyright: ignore[reportUnknownMemberType]

    return _Names(awsrequest.AWSRequest, credentials.Credentials, PinnedAuth)


def abort_pending(bucket: Bucket, older_than: float) -> int:
    """Abort the uploads below the bucket's prefix that began more than `older_than` seconds ago.

    Returns:
        How many were aborted here; uploads that somebody else ended meanwhile do not count.

    Raises:
        MissingDependencyError: If botocore is not installed.
    """
    client = _make_client(bucket)
    try:
        return sum(_abort(client, bucket.name, upload) for upload in _pending(client, bucket, time.time() - older_than))
    finally:
        client.close()


def _make_client(bucket: Bucket) -> Any:
    try:
        config, session = import_module("botocore.config"), import_module("botocore.session")
    except ImportError as error:
        raise MissingDependencyError(
            "Pending uploads are aborted with botocore, which is not installed: pip install 'litestar-filestore[s3]'"
        ) from error
    settings = config.Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 4},
        signature_version="s3v4",
        s3={"addressing_style": "path" if bucket.client["endpoint_url"] else "auto"},
    )
    return session.Session().create_client("s3", config=settings, **bucket.client)


def _pending(client: Any, bucket: Bucket, begun_before: float) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=bucket.prefix)
    for page in pages:
        for upload in page.get("Uploads", ()):
            begun = upload["Initiated"].timestamp()
            if begun < begun_before and (
                begun < time.time() - PARTS_KEPT_SECONDS or not _is_kept(client, bucket.name, upload)
            ):
                yield upload


def _is_kept(client: Any, bucket: str, upload: dict[str, Any]) -> bool:
    """Return whether an upload is an object in parts, which may wait for its next part for days."""
    try:
        answer = client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"], MaxParts=1)
    except client.exceptions.NoSuchUpload:
        return False
    return any(part["PartNumber"] > FIRST_NUMBERS for part in answer.get("Parts", ()))


def _abort(client: Any, bucket: str, upload: dict[str, Any]) -> bool:
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except client.exceptions.NoSuchUpload:
        return False
    return True


def part_limits_of(store: object) -> PartLimits | None:
    """Return what the bucket of `store` demands of parts, or ``None`` if this module cannot put parts into it."""
    if not isinstance(store, S3Store) or find_spec("s3fs") is None:
        return None
    try:
        config = _config(store)
    except UnsupportedOperationError:
        return None
    if config.get("server_side_encryption") == "sse-c":  # each request would need the customer's key
        return None
    return PartsStore.part_limits_with({"fixed_upload_size": _wants_equal_parts(_service_of(config))})


def part_abilities_of(store: object) -> Capability:
    """Return what can be done with parts in the bucket of `store`, one of those that `part_limits_of` knows."""
    config = _config(cast("S3Store", store))
    options = {"endpoint_url": _service_of(config), "anon": _is_true(config.get("skip_signature"))}
    return PartsStore.capabilities_with(options) & (Capability.PARTS | Capability.SIGN_PARTS | Capability.SIGN_FORM)


def parts_driver(bucket: Bucket) -> FSSpecDriver:
    """Return a driver that puts objects in parts into the same folder of the same bucket, through s3fs."""
    given, endpoint = dict(bucket.client), bucket.client["endpoint_url"]
    options = {
        "key": given.pop("aws_access_key_id", None),
        "secret": given.pop("aws_secret_access_key", None),
        "token": given.pop("aws_session_token", None),
        "endpoint_url": given.pop("endpoint_url"),
        "client_kwargs": given,
        "config_kwargs": {"s3": {"addressing_style": "path" if endpoint else "auto"}},
        "s3_additional_kwargs": bucket.encryption,
        "fixed_upload_size": _wants_equal_parts(endpoint),
    }
    place = Place(f"{bucket.name}/{bucket.prefix}", "")
    return FSSpecDriver(Recipe(import_module("s3fs").S3FileSystem, (), options, place))


def _wants_equal_parts(endpoint: str | None) -> bool:
    # https://developers.cloudflare.com/r2/objects/multipart-objects/
    return (urlsplit(endpoint or "").hostname or "").endswith(".r2.cloudflarestorage.com")


def translate_botocore_error(error: Exception) -> StorageError | None:
    """Return the error of this package for an exception of botocore, or ``None`` for other exceptions."""
    if not type(error).__module__.startswith("botocore."):
        return None
    exceptions: Any = import_module("botocore.exceptions")
    if isinstance(error, exceptions.ClientError):
        code = str(cast("Any", error).response.get("Error", {}).get("Code", ""))
        kind, detail = _CODES.get(code, (StorageError, f"The store answered with {code or 'an unknown error'}"))
        return kind(detail)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return AuthenticationError(
            "No credentials were found, neither in the backend's options nor in the environment: set them"
        )
    if isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError)):
        return BackendUnavailableError(
            "The store cannot be reached or did not answer in time: check its endpoint, or try again later"
        )
    return StorageError(f"Aborting pending uploads failed with {type(error).__name__}")
