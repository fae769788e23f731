"""The routes behind the application's own links.

Nothing but the token says what is served: neither the query nor a header changes object, type, name or disposition.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Request, get, head, put
from litestar.params import FromPath

from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.http.download import FileDownload
from litestar_filestore.http.limits import UploadLimits
from litestar_filestore.http.link_uploads import ReferredFile, store_upload
from litestar_filestore.http.links import LinkSigner

__all__ = ("make_link_routes",)


def make_link_routes(signer: LinkSigner, registry: StorageRegistry, limits: UploadLimits) -> Sequence[Any]:
    """Return the handlers that serve the links of `signer`, for the backends of `registry`."""
    config = signer.config
    path = f"{config.path}/{{token:str}}"

    def answer(token: str) -> FileDownload:
        file, claims, seconds_left = signer.read_download(token)
        # What a browser keeps must not outlive the link: after its end, its holder asks and is refused.
        kept = "private, no-store" if config.cache == "no-store" else f"{config.cache}, max-age={seconds_left}"
        return FileDownload(file, disposition=claims.disposition, cache_control=kept)

    @get(path, include_in_schema=False, opt=dict(config.opt))
    async def download(token: FromPath[str]) -> FileDownload:
        """Send the file of a link."""
        return answer(token)

    @head(path, include_in_schema=False, opt=dict(config.opt))
    async def look(token: FromPath[str]) -> FileDownload:
        """Send the headers of the file of a link."""
        return answer(token)

    @put(path, status_code=201, include_in_schema=False, opt=dict(config.opt), request_max_body_size=None)
    async def upload(request: Request[Any, Any, Any], token: FromPath[str]) -> ReferredFile:
        """Store the body of an upload."""
        return await store_upload(request, token, signer, registry, limits)

    return [download, look, upload]
