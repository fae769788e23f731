"""The application of the download tests, started once under each server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.downloads.raw import exchange
from tests.downloads.serving import SERVERS, Served, serve
from tests.servers.processes import ServerMissingError, missing
from tests.servers.s3 import S3Server

BUCKET = "downloads"


@pytest.fixture(scope="session")
def s3_settings(moto_server: S3Server) -> dict[str, Any]:
    """Where the application finds its bucket."""
    moto_server.create_bucket(BUCKET)
    return {
        "endpoint": moto_server.endpoint,
        "bucket": BUCKET,
        "access_key": moto_server.access_key,
        "secret_key": moto_server.secret_key,
    }


@pytest.fixture(scope="session")
def served(s3_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """The application under each server, with backends ``memory``, ``local`` and ``s3``."""
    with ExitStack() as stack:
        found: dict[str, Served] = {}
        for name in SERVERS:
            directory = tmp_path_factory.mktemp(name)
            settings = {**s3_settings, "root": str(directory / "files"), "prefix": name}
            try:
                found[name] = stack.enter_context(serve(name, directory, settings))
            except ServerMissingError as error:
                missing(str(error))
        yield found


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, served: dict[str, Served]) -> Served:
    """One of the servers."""
    return served[request.param]


@pytest.fixture(params=["memory", "local", "s3"])
def backend(request: pytest.FixtureRequest) -> str:
    """Key of one of the backends."""
    return str(request.param)


@pytest.fixture(scope="session")
def validators(served: dict[str, Served]) -> dict[tuple[str, str], dict[str, str]]:
    """Headers of the object ``small``, by server and backend."""
    return {
        (name, backend): exchange(each.port, "HEAD", f"/{backend}/small").headers
        for name, each in served.items()
        for backend in ("memory", "local", "s3")
    }


@pytest.fixture
def files_folder(tmp_path: Path) -> Path:
    """A folder for objects of one test."""
    return tmp_path / "files"
