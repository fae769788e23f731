"""The URL of a new upload leads to it, wherever the application stands."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from litestar import Litestar, Router
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore import FilestoreConfig, FilestorePlugin, LinkConfig, LocalBackend, create_upload_router
from litestar_filestore.ledger import LedgerConfig
from tests.links.place_app import mounted
from tests.tus.tus_app import SECRET, Base, Document

TUS = {"Tus-Resumable": "1.0.0"}


class Place(NamedTuple):
    """Where the application stands, and what its URLs begin with."""

    at: str
    url: str
    path: str = "/"
    mount: str | None = None
    public_url: str | None = None


HERE = "http://testserver.local"
THERE = "https://files.example.com/behind"
PLACES = [
    Place("/uploads", HERE),
    Place("/api/uploads", HERE, path="/api"),
    Place("/mnt/uploads", HERE, mount="/mnt"),
    Place("/mnt/api/uploads", HERE, path="/api", mount="/mnt"),
    Place("/uploads", THERE, public_url=THERE),
    Place("/api/uploads", THERE, path="/api", public_url=THERE),
    Place("/api/uploads", THERE, path="/api", mount="/mnt", public_url=THERE),
]


def build(folder: Path, path: str, public_url: str | None) -> Litestar:
    """Return an application that takes uploads below ``uploads``, in a router of a router."""
    url = f"sqlite:///{folder}/rows.db"
    Base.metadata.create_all(engine := sa.create_engine(url))
    engine.dispose()
    beside = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite"))
    config = FilestoreConfig(
        [LocalBackend("documents", folder / "files", fsync=False)],
        secret=SECRET,
        ledger=LedgerConfig([beside], run_sweeper=False),
        links=LinkConfig(public_url=public_url),
    )
    uploads = create_upload_router("/", Document.file, public=True)
    return Litestar(
        [Router("/uploads", route_handlers=[uploads])],
        path=path,
        plugins=[FilestorePlugin(config)],
        on_shutdown=[beside.dispose],
    )


@pytest.mark.parametrize("place", PLACES)
def test_location_leads_to_the_upload(tmp_path: Path, place: Place) -> None:
    """It begins with the public URL if there is one, else with what the client has asked."""
    app = build(tmp_path, place.path, place.public_url)
    with TestClient(app if place.mount is None else mounted(app, place.mount)) as client:
        asked = place.at if place.mount is None or place.public_url is None else place.mount + place.at
        location = client.post(f"{asked}/", headers={**TUS, "Upload-Length": "3"}).headers["location"]
        assert location.rpartition("/")[0] == place.url + place.at
        assert client.head(location.replace(place.url + place.at, asked), headers=TUS).status_code == 200
