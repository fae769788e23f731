"""An application with a page of Uppy and one of the element, whose files go to the store of the environment."""

from __future__ import annotations

import os
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.config.csrf import CSRFConfig
from litestar.params import JSONBody
from litestar.response import File
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from litestar_filestore import FilestoreConfig, FilestorePlugin, create_upload_router, filestore_upload_script
from litestar_filestore.ledger import LedgerConfig
from tests.servers.npm import find_package_file
from tests.tus.stores import open_store
from tests.tus.tus_app import PATH, SECRET, Base, Document, DocumentForm, user_of

__all__ = ("app",)

PAGE = '<!doctype html><title>Uppy</title><script src="/uppy.js"></script>'

ELEMENT = """<!doctype html><title>Element</title>{script}
<filestore-upload name="file" endpoint="/documents/uploads" multiple></filestore-upload>"""

engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['DIRECT_FOLDER']}/rows.db")
made = async_sessionmaker(engine, expire_on_commit=False)


@get("/page", media_type=MediaType.HTML)
async def page() -> str:
    """Show the page."""
    return PAGE


@get("/element", media_type=MediaType.HTML)
async def element(request: Request[Any, Any, Any]) -> Response[str]:
    """Show the element, below a policy that lets it reach this application only."""
    policy = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'"}
    return Response(ELEMENT.format(script=filestore_upload_script(request, direct=True)), headers=policy)


@get("/uppy.js")
async def script() -> File:
    """Send Uppy."""
    found = find_package_file("uppy/dist/uppy.min.js")
    return File(found, media_type="text/javascript", content_disposition_type="inline")


@post("/documents", exclude_from_csrf=True)
async def create(data: JSONBody[DocumentForm]) -> dict[str, Any]:
    """Make a row of a reference."""
    async with made.begin() as session:
        row = Document(title=data.title, file=data.file)
        session.add(row)
    return {"size": row.file.size, "type": row.file.content_type, "filename": row.file.filename}


async def create_tables() -> None:
    """Create the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


app = Litestar(
    [
        page,
        element,
        script,
        create,
        create_upload_router(PATH, Document.file, public=True, owner=user_of, form_page="/page"),
    ],
    plugins=[
        FilestorePlugin(
            FilestoreConfig(
                [open_store(os.environ["DIRECT_STORE"])],
                secret=SECRET,
                ledger=LedgerConfig([engine], run_sweeper=False),
            )
        )
    ],
    # Uppy sends no token.
    csrf_config=CSRFConfig(secret="c" * 32),
    on_startup=[create_tables],
    openapi_config=None,
)
