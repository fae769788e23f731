"""Links to S3 that fix the headers of the answer, signed with botocore.

obstore signs the host and nothing else: the holder of its links could ask for the file as a page of the bucket's origin
by adding ``response-content-type``. botocore signs such parameters with the rest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit

from litestar_filestore.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from litestar_filestore.backends.s3_pending import Bucket
    from litestar_filestore.core.signing import SignedAnswer

__all__ = ("sign_again",)

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
