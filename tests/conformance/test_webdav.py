"""WebDAV."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from litestar_filestore.testing import BackendSpec
from tests.conformance.stand_ins import FSSPEC, StandInConformance, unfinished
from tests.servers.webdav import WebdavServer

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


class TestWebdav(StandInConformance):
    """A server with basic authentication, wsgidav: it cuts names where old URLs had parameters."""

    server_replaces_atomically = False
    refused_characters = "?;"

    @pytest.fixture
    def spec(self, webdav_server: WebdavServer) -> BackendSpec:
        """Name the server."""
        options = {"base_url": webdav_server.url, "auth": [webdav_server.username, webdav_server.password]}
        return BackendSpec(FSSPEC, {"key": "conformance", "fs": "webdav", **options})

    @pytest.fixture
    def leftovers(self, webdav_server: WebdavServer) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(webdav_server.root)
