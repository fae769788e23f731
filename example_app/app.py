"""The application. ``litestar --app example_app.app:app run`` serves it; `Settings` lists the variables it reads."""

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar
from litestar.datastructures import State

from example_app import pages, previews, schema, shares
from example_app.documents import DocumentController, downloads, uploads
from example_app.operations import SWEEP
from example_app.settings import Settings
from example_app.trash import Trash
from litestar_filestore import FilestoreConfig, FilestorePlugin, MaxSize
from litestar_filestore.ledger import LedgerConfig


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
    storage = FilestoreConfig(
        [settings.backend()],
        secret=settings.secret,
        rules=[MaxSize(settings.max_bytes)],
        downloads=previews.DOWNLOADS,
        ledger=LedgerConfig(sweep=SWEEP),
    )
    return Litestar(
        [DocumentController, downloads, uploads, previews.show, shares.share, schema.viewer_file, *pages.routers],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage), Trash(database, settings.trash_seconds)],
        template_config=pages.templates,
        openapi_config=schema.openapi,
        state=State({"max_bytes": settings.max_bytes, "bucket_origin": settings.bucket_origin}),
    )


app = create_app()
