"""What pages are given: the tag of the upload element's script, which templates print as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from litestar.exceptions import NoRouteMatchFoundException

from litestar_filestore.element.script import ROUTE_NAMES, write_tag
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.links.urls import mounted_at

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.connection import ASGIConnection

__all__ = (
    "filestore_upload_script",
    "teach_templates",
)


def filestore_upload_script(
    connection: ASGIConnection[Any, Any, Any, Any], *, nonce: str | None = None, direct: bool = False
) -> str:
    """Return the tag that loads the script of ``<filestore-upload>``, for HTML that is not made by a template.

    Templates have it under the same name: ``{{ filestore_upload_script() }}``. The tag names the hash of the script, so
    a browser runs nothing else; it holds nothing that the client has chosen except the path before the application.

    Args:
        connection: The request that is answered with the page.
        nonce: The nonce of the page's Content-Security-Policy, if it allows scripts by nonce. The policy
            ``script-src 'self'`` needs none.
        direct: Let the elements of the page put the parts of files where the routes for direct uploads say, as a rule
            into the bucket, instead of sending the files to the application by tus.

    Raises:
        ConfigurationError: If ``FilestoreConfig.upload_element_path`` is ``None``.
    """
    try:
        path = connection.app.route_reverse(ROUTE_NAMES[direct])
    except NoRouteMatchFoundException as error:
        raise ConfigurationError(
            "The application does not serve <filestore-upload>: set upload_element_path=... in FilestoreConfig"
        ) from error
    return write_tag(quote(mounted_at(connection.scope)) + path, nonce, direct=direct)


def _print_tag(context: Mapping[str, Any], /, *, nonce: str | None = None, direct: bool = False) -> str:
    return filestore_upload_script(context["request"], nonce=nonce, direct=direct)


def teach_templates(app: Litestar) -> None:
    """Give the application's template engine ``filestore_upload_script``, if it has one."""
    engine: Any = cast("Any", app).template_engine  # its type is incomplete in Litestar
    if engine is not None:
        engine.register_template_callable(filestore_upload_script.__name__, _print_tag)
