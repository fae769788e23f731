"""Serves links: downloads, and uploads of one body of bounded size, once, under the signed key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, get, head, put
from litestar.params import FromPath

from litestar_filestore.core.file_object import PublicFile, public_file
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.links.signer import LinkSigner
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.plan import PlannedFile
from litestar_filestore.uploads.raw import RawUpload

__all__ = (
    "ReferredFile",
    "make_link_routes",
)


class ReferredFile(PublicFile, frozen=True, kw_only=True):
    """The JSON form of a stored file that is in no row yet."""

    reference: str
    """Reference to send where a file is expected."""


def make_link_routes(signer: LinkSigner) -> Sequence[Any]:
    """Return the handlers that serve the links of `signer`."""
    config = signer.config
    path = f"{config.path}/{{token:str}}"

    async def download(token: FromPath[str]) -> FileDownload:
        """Send the file of a link, or only its headers."""
        file, claims, seconds_left = signer.read_download(token)
        # A cached copy must not outlive the link: after it has expired, the browser asks again and is refused.
        kept = "private, no-store" if config.cache == "no-store" else f"{config.cache}, max-age={seconds_left}"
        return FileDownload(file, disposition=claims.disposition, cache_control=kept)

    @put(path, status_code=201, include_in_schema=False, opt=dict(config.opt), request_max_body_size=None)
    async def upload(request: Request[Any, Any, Any], token: FromPath[str]) -> ReferredFile:
        """Store the body of an upload."""
        return await _store_upload(request, token, signer)

    reading = [each(path, include_in_schema=False, opt=dict(config.opt))(download) for each in (get, head)]
    return [*reading, upload]


async def _store_upload(request: Request[Any, Any, Any], token: str, signer: LinkSigner) -> ReferredFile:
    """Store the body of a request under the key of a link.

    The file is in no row yet. It is swept when its lease runs out, unless the client sends the reference in time.

    Raises:
        InvalidTokenError: If the token is not a valid upload link.
        ObjectExistsError: If the link has been used.
        FileTooLargeError: If the body is longer than the link allows.
        StorageError: If the backend fails.
    """
    claims, link = signer.read_upload(token)
    files = owned_by(request.scope)
    planned = PlannedFile(name="file", backend=claims.backend, max_bytes=claims.max_bytes, key=claims.key, link=link)
    # The upload counts for the owner for whom the link was made.
    owner = owner_of_new_objects.set(claims.owner or owner_of_new_objects.get())
    try:
        file = await RawUpload(request).store_as(planned, filename=claims.filename)
    finally:
        owner_of_new_objects.reset(owner)
    await files.hand_over(file)
    known: dict[str, Any] = msgspec.structs.asdict(public_file(file))
    return ReferredFile(**known, reference=signer.reference_for(file, None))
