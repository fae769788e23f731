"""The pages: templates, their policy, and the files that they load."""

import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment
from litestar import Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader, State
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig

from example_app.operations import operations, sweep_now
from example_app.shares import shared_file, shared_page

HERE = Path(__file__).parent
STATIC = HERE / "static"

# Scripts and styles come from files of this application and nowhere else, and no text becomes markup: names of files
# come from strangers. Only a frame needs more than this site's own files, because a PDF viewer is a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # The address of a shared page is all that is needed to read it.
    "Referrer-Policy": "no-referrer",
    # A page that is shown again is asked for again, so it never names files of an older release.
    "Cache-Control": "no-cache",
}


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:12]


# The hash of all files is in the path of each. Browsers keep them for ever, and a changed file is another path; scripts
# import each other by relative names, which stay as they are.
STATIC_PATH = f"/static/{_digest(STATIC)}"
static = create_static_files_router(
    path=STATIC_PATH,
    directories=[STATIC],
    cache_control=CacheControlHeader(public=True, max_age=31_536_000, immutable=True),
)


@get("/", include_in_schema=False)
async def library(state: State) -> Template:
    """Show the documents."""
    return _library(state, is_trash=False)


@get("/trash", include_in_schema=False)
async def trash(state: State) -> Template:
    """Show what was deleted."""
    return _library(state, is_trash=True)


def _library(state: State, *, is_trash: bool) -> Template:
    context = {"max_bytes": state.max_bytes, "is_trash": is_trash, "direct": state.bucket_origin is not None}
    # Where the browser puts files into the bucket itself, the page may send requests there, and nowhere else.
    reached = f"connect-src 'self' {state.bucket_origin}" if state.bucket_origin else "connect-src 'self'"
    policy = POLICY.replace("connect-src 'self'", reached)
    return Template("library.html", context=context, headers={"Content-Security-Policy": policy})


pages = Router(
    "/",
    route_handlers=[library, trash, shared_page, operations, sweep_now],
    response_headers=[ResponseHeader(name=name, value=value) for name, value in HEADERS.items()],
)
routers = (pages, static, shared_file)


def _teach(engine: JinjaTemplateEngine) -> None:
    environment: Environment = engine.engine
    environment.globals["static"] = STATIC_PATH
    environment.filters["size"] = size_text


def size_text(size: int) -> str:
    """Return a size for people: ``1.5 MB``."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:  # noqa: PLR2004  # SI
            break
        amount, unit = amount / 1000, larger
    return f"{round(amount, 1):g} {unit}"


templates: TemplateConfig[Any] = TemplateConfig(
    directory=HERE / "templates", engine=JinjaTemplateEngine, engine_callback=_teach
)
