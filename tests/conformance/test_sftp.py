"""SFTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from litestar_filestore.testing import BackendSpec
from tests.conformance.stand_ins import FSSPEC, StandInConformance, unfinished
from tests.servers.sftp import SftpServer

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


class TestSftp(StandInConformance):
    """A server without a shell."""

    @pytest.fixture
    def spec(self, sftp_server: SftpServer) -> BackendSpec:
        """Name the server; its key is a new one at every start, so it is not checked."""
        options = {
            "username": sftp_server.username,
            "password": sftp_server.password,
            "port": sftp_server.port,
            "known_hosts": None,
        }
        return BackendSpec(FSSPEC, {"key": "conformance", "fs": f"sftp://{sftp_server.host}/", **options})

    @pytest.fixture
    def leftovers(self, sftp_server: SftpServer) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(sftp_server.root)
