"""Signed URLs through obstore, where they are right."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from litestar_filestore.backends import s3_links, s3_pending
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from litestar_filestore.core.signing import SignedAnswer
    from litestar_filestore.core.types import SignMethod

__all__ = ("sign", "sign_answer", "sign_answer_async", "sign_async")

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
    return s3_links.sign_again(sign(store, path, "GET", answer.expires_in), bucket, answer)


async def sign_answer_async(store: ObjectStore, path: str, answer: SignedAnswer) -> str:
    """`sign_answer` without blocking the event loop."""
    bucket = await s3_pending.bucket_of_async(_s3(store), "")
    url = await sign_async(store, path, "GET", answer.expires_in)
    return await run_blocking(partial(s3_links.sign_again, url, bucket, answer))


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
