"""Links to S3 that fix the headers of the answer, signed with botocore.

obstore signs the host and nothing else: the holder of its links could ask for the file as a page of the bucket's origin
by adding ``response-content-type``. botocore signs such parameters with the rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from litestar_filestore.backends.obstore import pending_uploads as s3_pending
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from litestar_filestore.backends.obstore.pending_uploads import Bucket
    from litestar_filestore.core.types import SignedAnswer, SignMethod

__all__ = (
    "sign",
    "sign_again",
    "sign_answer",
    "sign_answer_async",
    "sign_async",
)

_TIMESTAMP = "%Y%m%dT%H%M%SZ"


class _Names(NamedTuple):
    """What this module uses of botocore."""

    request: Any
    credentials: Any
    auth: Any


def sign_again(url: str, bucket: Bucket, answer: SignedAnswer) -> str:
    """Return a signed URL like `url` whose answer has the headers of `answer`.

    Args:
        url: A URL that obstore signed: it has found host, path and region.
        bucket: The credentials; where it has none, botocore looks where obstore does, which may take a while.
        answer: Headers and life.

    Raises:
        UnsupportedOperationError: If botocore is not installed, or there is nothing to sign with.
    """
    names = _botocore()
    parts = urlsplit(url)
    scope = parse_qs(parts.query).get("X-Amz-Credential", [""])[0].split("/")
    if len(scope) < 5:  # noqa: PLR2004  # key/date/region/s3/aws4_request
        raise UnsupportedOperationError("Anonymous access to S3 cannot sign URLs")
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
        raise UnsupportedOperationError("There are no credentials to sign URLs with")
    return found.get_frozen_credentials()


@cache
def _session() -> Any:
    """Return the session that keeps credentials until they expire; the chain that finds them is not walked twice."""
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
        """Signs as of a given time instead of now, so that links made within one window are the same."""

        signed_at = ""

        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = self.signed_at
            super()._modify_request_before_signing(request)  # pyright: ignore[reportUnknownMemberType]

    return _Names(awsrequest.AWSRequest, credentials.Credentials, PinnedAuth)


_AZURE_KEY = re.compile(r"[A-Za-z0-9/._~+&()'-]*")
_GCS_MISTAKEN = re.compile(r"[%?#]")


def sign(store: ObjectStore, path: str, method: SignMethod, expires_in: int) -> str:
    """Return a signed URL; see `Driver.sign`."""
    return obstore.sign(_signer(store, path), method, path, timedelta(seconds=expires_in))


async def sign_async(store: ObjectStore, path: str, method: SignMethod, expires_in: int) -> str:
    """`sign` without blocking the event loop: credentials may have to be fetched first."""
    return await obstore.sign_async(_signer(store, path), method, path, timedelta(seconds=expires_in))


def sign_answer(store: ObjectStore, path: str, answer: SignedAnswer) -> str:
    """Return a signed URL with headers of the answer; see `Driver.sign_answer`. Only S3 can."""
    bucket = s3_pending.bucket_of(_s3(store), "")
    return sign_again(sign(store, path, "GET", answer.expires_in), bucket, answer)


async def sign_answer_async(store: ObjectStore, path: str, answer: SignedAnswer) -> str:
    """`sign_answer` without blocking the event loop."""
    bucket = await s3_pending.bucket_of_async(_s3(store), "")
    url = await sign_async(store, path, "GET", answer.expires_in)
    return await run_blocking(partial(sign_again, url, bucket, answer))


def _s3(store: ObjectStore) -> S3Store:
    if not isinstance(store, S3Store):
        raise UnsupportedOperationError("Links of this kind of store cannot fix the headers of the answer")
    return store


def _signer(store: ObjectStore, path: str) -> S3Store | GCSStore | AzureStore:
    """Return the store if it signs this key so that the service accepts it.

    URLs for Google always name ``storage.googleapis.com``, whatever the endpoint.

    Measured with obstore 0.12.1: it escapes keys once too often for Azure, which then refuses the URL, and not at all
    for Google, so that a key with a question mark is signed as another, shorter key.
    """
    if not isinstance(store, (S3Store, GCSStore, AzureStore)):
        raise UnsupportedOperationError("This kind of store has no signed URLs of its own")
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
