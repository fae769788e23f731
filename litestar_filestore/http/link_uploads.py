"""Uploads through links: one body, bounded, under the key that was signed, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.core.owner import owner_of_new_objects
from litestar_filestore.core.public import PublicFile, public_file
from litestar_filestore.http.ownership import owned_by
from litestar_filestore.http.plan import PlannedFile
from litestar_filestore.http.raw import store_body

if TYPE_CHECKING:
    from litestar import Request

    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.http.limits import UploadLimits
    from litestar_filestore.http.links import LinkSigner

__all__ = ("ReferredFile", "store_upload")


class ReferredFile(PublicFile, frozen=True, kw_only=True):
    """The JSON form of a file that is stored and in no row yet."""

    reference: str
    """What to send where a file is expected."""


async def store_upload(
    request: Request[Any, Any, Any], token: str, signer: LinkSigner, registry: StorageRegistry, limits: UploadLimits
) -> ReferredFile:
    """Store the body of a request under the key of a link.

    The file is in nobody's row. It is swept when its lease runs out, unless the client sends the reference in time.

    Raises:
        InvalidTokenError: If the token is no living link to upload.
        ObjectExistsError: If there was an upload through this link.
        FileTooLargeError: If the body is longer than the link allows.
        StorageError: If the backend fails.
    """
    claims, link = signer.read_upload(token)
    files = owned_by(request.scope)
    planned = PlannedFile(name="file", backend=claims.backend, max_bytes=claims.max_bytes, key=claims.key, link=link)
    # Whoever has the link stores on the account of the one for whom it was made.
    owner = owner_of_new_objects.set(claims.owner or owner_of_new_objects.get())
    try:
        file = await store_body(
            request,
            planned,
            filename=claims.filename,
            storer=files.storer,
            registry=registry,
            limits=limits,
        )
    finally:
        owner_of_new_objects.reset(owner)
    files.hand_over(file)
    known: dict[str, Any] = msgspec.structs.asdict(public_file(file))
    return ReferredFile(**known, reference=signer.reference_for(file, None))
