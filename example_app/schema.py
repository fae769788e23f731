"""The page of the HTTP interface at ``/schema``, which works without the internet.

Litestar's own viewers load their scripts from a content delivery network. Here they come from the package ``offapi``.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import Request, Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath
from litestar.response import File

from example_app.pages import HEADERS

# Swagger UI writes markup, sets styles and has pictures in its style sheet. It still loads nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class SwaggerPage(OpenAPIRenderPlugin):
    """Swagger UI from files of this machine."""

    def __init__(self) -> None:
        """Serve it first."""
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the page, which loads the document by itself."""
        del openapi_schema
        engine: Any = request.app.template_engine
        context = {"viewer": VIEWER_PATH, "document": self.get_openapi_json_route(request), "request": request}
        page: str = engine.get_template("schema.html").render(**context)
        return page.encode()


def _package_file(name: str) -> Path:
    # Without importing the package, which reads all of its viewers into memory.
    spec = find_spec("offapi")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The page of the schema needs a package: pip install offapi")
    return Path(spec.origin).with_name(name)


FILES = {
    "viewer.js": (_package_file("swagger_bundle.js"), "text/javascript"),
    "viewer.css": (_package_file("swagger_style.css"), "text/css"),
}
VIEWER_PATH = f"/schema-viewer/{version('offapi')}"


@get(
    f"{VIEWER_PATH}/{{name:str}}",
    include_in_schema=False,
    cache_control=CacheControlHeader(public=True, max_age=31_536_000, immutable=True),
)
async def viewer_file(name: FromPath[str]) -> File:
    """Send a file of the viewer."""
    if name not in FILES:
        raise NotFoundException
    path, media_type = FILES[name]
    return File(path, media_type=media_type, filename=name, content_disposition_type="inline")


openapi = OpenAPIConfig(
    "Documents",
    "1.0",
    use_handler_docstrings=True,
    render_plugins=[SwaggerPage()],
    openapi_router=Router(
        "/schema",
        route_handlers=[],
        include_in_schema=False,
        response_headers=[
            ResponseHeader(name=name, value=value)
            for name, value in {**HEADERS, "Content-Security-Policy": POLICY}.items()
        ],
    ),
)
