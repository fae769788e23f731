"""Serves the scripts of ``<filestore-upload>``, and writes the tag that loads one of them.

They are files of the package, ready to be served: nothing is built when the application starts. The hash of each is in
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
    "ROUTE_NAMES",
    "Tag",
    "make_script_routes",
    "write_tag",
)

ROUTE_NAMES = {False: "filestore-upload-script", True: "filestore-upload-direct-script"}
"""Names of the routes that serve the scripts: that of resumable uploads, and that of direct ones."""

_FILES = {False: "filestore-upload.min.js", True: "filestore-upload-direct.min.js"}
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
def _script(*, direct: bool) -> bytes:
    return files("litestar_filestore.element").joinpath(_FILES[direct]).read_bytes()


def _digest(*, direct: bool) -> bytes:
    return sha384(_script(direct=direct)).digest()


def make_script_routes(prefix: str) -> list[HTTPRouteHandler]:
    """Return the handlers that serve the scripts below the path `prefix`.

    They are open to everybody: the scripts are the same in every application and know nothing of this one.
    """
    return [_make_script_route(prefix, direct=direct) for direct in ROUTE_NAMES]


def _make_script_route(prefix: str, *, direct: bool) -> HTTPRouteHandler:
    path = f"{prefix}/{_digest(direct=direct).hex()[:16]}.js"
    opt = {"exclude_from_auth": True, "exclude_from_csrf": True}

    @get(path, name=ROUTE_NAMES[direct], include_in_schema=False, opt=opt, sync_to_thread=False)
    def send_script() -> Response[bytes]:
        return Response(_script(direct=direct), media_type="text/javascript", headers=_HEADERS)

    return send_script


def write_tag(url: str, nonce: str | None, *, direct: bool) -> Tag:
    """Return the tag that loads a script from `url`.

    Args:
        url: Where the page finds the script.
        nonce: The nonce of the page's Content-Security-Policy, if it has one.
        direct: Whether the script is that of direct uploads.
    """
    given = {"src": url, "integrity": f"sha384-{b64encode(_digest(direct=direct)).decode()}", "nonce": nonce}
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in given.items() if value is not None)
    return Tag(f'<script type="module"{attributes}></script>')
