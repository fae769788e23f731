"""Serves the script of ``<filestore-upload>``, and writes the tag that loads it.

The script is a file of the package, ready to be served: nothing is built when the application starts. Its hash is in
its path, so browsers keep it for as long as they like, and a new release of the package is a new path.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha384
from html import escape
from importlib.resources import files

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

__all__ = (
    "ROUTE_NAME",
    "Tag",
    "make_script_route",
    "write_tag",
)

ROUTE_NAME = "filestore-upload-script"
"""Name of the route that serves the script."""

_FILE = "filestore-upload.min.js"
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # RFC 8246; a changed script has another path
    "X-Content-Type-Options": "nosniff",
}


class Tag(str):
    """HTML that template engines print as it is; they know such text by its method."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML."""
        return str(self)


@cache
def _script() -> bytes:
    return files("litestar_filestore.element").joinpath(_FILE).read_bytes()


def _digest() -> bytes:
    return sha384(_script()).digest()


def make_script_route(prefix: str) -> HTTPRouteHandler:
    """Return the handler that serves the script below the path `prefix`.

    It is open to everybody: the script is the same in every application and knows nothing of this one.
    """
    path = f"{prefix}/{_digest().hex()[:16]}.js"
    opt = {"exclude_from_auth": True, "exclude_from_csrf": True}

    @get(path, name=ROUTE_NAME, include_in_schema=False, opt=opt, sync_to_thread=False)
    def send_script() -> Response[bytes]:
        return Response(_script(), media_type="text/javascript", headers=_HEADERS)

    return send_script


def write_tag(url: str, nonce: str | None) -> Tag:
    """Return the tag that loads the script from `url`.

    Args:
        url: Where the page finds the script.
        nonce: The nonce of the page's Content-Security-Policy, if it has one.
    """
    given = {"src": url, "integrity": f"sha384-{b64encode(_digest()).decode()}", "nonce": nonce}
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in given.items() if value is not None)
    return Tag(f'<script type="module"{attributes}></script>')
