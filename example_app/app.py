"""The application. ``litestar --app example_app.app:app run`` serves it; `Settings` lists the variables it reads."""

from dataclasses import dataclass
from pathlib import Path

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, MediaType, get
from litestar.datastructures import State
from litestar.openapi.config import OpenAPIConfig
from litestar.response import File

from example_app.documents import DocumentController
from example_app.settings import Settings
from litestar_filestore import FilestoreConfig, FilestorePlugin, MaxSize

PAGE = Path(__file__).with_name("page.html")
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass
class Limits:
    """What the application accepts."""

    max_bytes: int
    """Largest file in bytes."""


@get("/", include_in_schema=False)
async def page() -> File:
    """Show the page."""
    headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
    return File(PAGE, media_type=MediaType.HTML, content_disposition_type="inline", headers=headers)


@get("/limits", tags=["documents"])
async def limits(state: State) -> Limits:
    """Tell a client what not to try."""
    return Limits(max_bytes=state.max_bytes)


def create_app(settings: Settings | None = None) -> Litestar:
    """Make the application; without settings, those of the environment."""
    settings = settings or Settings.from_environment()
    database = SQLAlchemyAsyncConfig(
        connection_string=settings.database_url,
        engine_config=EngineConfig(pool_pre_ping=True),
        # Handlers commit before they answer. What they return is read after that.
        session_config=AsyncSessionConfig(expire_on_commit=False),
        create_all=True,
    )
    storage = FilestoreConfig([settings.backend()], secret=settings.secret, rules=[MaxSize(settings.max_bytes)])
    return Litestar(
        [page, limits, DocumentController],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)],
        openapi_config=OpenAPIConfig("Documents", "1.0", use_handler_docstrings=True),
        state=State({"max_bytes": settings.max_bytes}),
    )


app = create_app()
