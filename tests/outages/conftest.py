"""PostgreSQL and a bucket, each behind a proxy that can take it away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.outages.app import BUCKET, Base
from tests.servers.chaos import ThreadedProxy, running_proxy
from tests.servers.postgres import PostgresServer
from tests.servers.processes import HOST
from tests.servers.s3 import S3Server


@pytest.fixture(scope="session")
def bucket(moto_server: S3Server) -> S3Server:
    """A server with the bucket of the tests."""
    moto_server.create_bucket(BUCKET)
    return moto_server


@pytest.fixture
def store(bucket: S3Server) -> Iterator[ThreadedProxy]:
    """A proxy in front of the bucket."""
    with running_proxy(HOST, urlsplit(bucket.endpoint).port or 0) as faults:
        yield faults


@pytest.fixture
def database_name(postgres_server: PostgresServer) -> str:
    """A new database, without tables."""
    name = f"outages_{uuid.uuid4().hex}"
    postgres_server.create_database(name)
    return name


@pytest.fixture
def migrated(postgres_server: PostgresServer, database_name: str) -> str:
    """A new database with all tables."""
    engine = sa.create_engine(postgres_server.url("psycopg", database_name))
    Base.metadata.create_all(engine)
    engine.dispose()
    return database_name


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[ThreadedProxy]:
    """A proxy in front of the databases."""
    with running_proxy(HOST, postgres_server.port) as faults:
        yield faults
