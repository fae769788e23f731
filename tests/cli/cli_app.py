"""The application that the tests of the command line run commands of."""

import os
from pathlib import Path
from typing import Any, Literal

from advanced_alchemy.base import BigIntBase
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar
from sqlalchemy import create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MovingBackend,
    ObstoreBackend,
    StorageBackend,
    StoredObject,
    storages,
)
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.testing import Fault, FaultyBackend

__all__ = (
    "create_app",
    "create_app_that_moves",
    "create_app_that_moves_back",
    "create_app_that_moves_without_a_database",
    "create_app_with_a_dead_database",
    "create_app_with_a_dead_store",
    "create_app_with_markup",
    "create_app_with_registered_backend",
    "create_app_with_tenants",
    "create_app_without_deletes",
)


class Paper(BigIntBase):
    __tablename__ = "paper"

    file: Mapped[FileObject | None] = mapped_column(StoredObject("papers"))


def create_app() -> Litestar:
    """Make the application on the folder that the environment names."""
    folder = Path(os.environ["PAPERS"])
    database = SQLAlchemyAsyncConfig(connection_string=f"sqlite+aiosqlite:///{folder}/papers.db", create_all=True)
    backend = LocalBackend("papers", folder / "objects", fsync=False)
    return Litestar(
        [], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(FilestoreConfig([backend]))], openapi_config=None
    )


def create_app_with_registered_backend() -> Litestar:
    """Make it with its backend registered as in Advanced Alchemy, not configured."""
    folder = Path(os.environ["PAPERS"])
    database = SQLAlchemyAsyncConfig(connection_string=f"sqlite+aiosqlite:///{folder}/papers.db", create_all=True)
    storages.register_backend(LocalBackend("papers", folder / "objects", fsync=False))
    return Litestar([], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(FilestoreConfig())], openapi_config=None)


def create_app_with_tenants() -> Litestar:
    """Make one on the same folder that has a second schema, and stores the objects of both in the same place."""
    folder = Path(os.environ["PAPERS"])
    engine = create_engine(f"sqlite:///{folder}/papers.db")

    @event.listens_for(engine, "connect")
    def attach(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"ATTACH '{folder}/second.db' AS second")
        cursor.close()

    second = engine.execution_options(schema_translate_map={None: "second"})
    Paper.metadata.create_all(second)
    backend = LocalBackend("papers", folder / "objects", fsync=False)
    ledger = LedgerConfig(databases=[engine, second])
    return Litestar([], plugins=[FilestorePlugin(FilestoreConfig([backend], ledger=ledger))], openapi_config=None)


def create_app_with_markup() -> Litestar:
    """Make one whose backend has a name that could be taken for markup."""
    backend = LocalBackend("[bold]papers[/bold]", Path(os.environ["PAPERS"]) / "objects")
    return Litestar([], plugins=[FilestorePlugin(FilestoreConfig([backend], ledger=None))], openapi_config=None)


def create_app_with_a_dead_store() -> Litestar:
    """Make the application with another backend, at whose address nothing listens."""
    app = create_app()
    config = next(plugin for plugin in app.plugins if isinstance(plugin, FilestorePlugin)).config
    options: dict[str, Any] = {"retry_config": {"max_retries": 0}, "client_options": {"allow_http": True}}
    account: dict[str, Any] = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_region": "us-east-1"}
    dead = ObstoreBackend("dead", "s3://bucket/", aws_endpoint="http://127.0.0.1:9", **account, **options)
    config.backends = (*config.backends, dead)
    return app


def create_app_without_deletes() -> Litestar:
    """Make the application on a store that deletes nothing."""
    app = create_app()
    config = next(plugin for plugin in app.plugins if isinstance(plugin, FilestorePlugin)).config
    plan = [Fault("delete", BackendUnavailableError("The store is busy"), times=None)]
    config.backends = [FaultyBackend(config.backends[0], plan)]
    return app


def create_app_that_moves(writes: Literal["target", "source"] = "target") -> Litestar:
    """Make the application whose objects move to another store."""
    app, folder = create_app(), Path(os.environ["PAPERS"])
    config = next(plugin for plugin in app.plugins if isinstance(plugin, FilestorePlugin)).config
    source = LocalBackend("disk", folder / "objects", fsync=False)
    target = LocalBackend("new", folder / "new", fsync=False)
    config.backends = [MovingBackend("papers", source=source, target=target, writes=writes)]
    return app


def create_app_that_moves_back() -> Litestar:
    """Make the same on the way back."""
    return create_app_that_moves("source")


def create_app_with_a_dead_database(*backends: StorageBackend) -> Litestar:
    """Make one whose database is on a server that does not run."""
    engine = create_async_engine("postgresql+asyncpg://127.0.0.1:9/papers")
    backend = LocalBackend("papers", Path(os.environ["PAPERS"]) / "objects", fsync=False)
    config = FilestoreConfig(backends or [backend], ledger=LedgerConfig(databases=[engine]))
    return Litestar([], plugins=[FilestorePlugin(config)], openapi_config=None)


def create_app_that_moves_without_a_database() -> Litestar:
    """Make the same with objects that move to another store."""
    stores = [LocalBackend(key, Path(os.environ["PAPERS"]) / key, fsync=False) for key in ("disk", "new")]
    return create_app_with_a_dead_database(MovingBackend("papers", source=stores[0], target=stores[1]))
