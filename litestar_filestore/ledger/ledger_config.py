"""Configures an application's ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import sessionmaker

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.ledger.quota import QuotaCheck
from litestar_filestore.ledger.sweep import SweepConfig

__all__ = (
    "Database",
    "LedgerConfig",
)

Database: TypeAlias = Engine | AsyncEngine
"""An engine that reaches a ledger."""


@dataclass
class LedgerConfig:
    """How an application looks after the objects of its rows."""

    databases: Sequence[Database | sessionmaker[Any] | async_sessionmaker[Any]] = ()
    """Engines, or session makers bound to one, of all databases with file columns. Empty takes those of Advanced
    Alchemy's ``SQLAlchemyPlugin``."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Times and sizes of sweeps."""
    run_sweeper: bool = True
    """Whether this process sweeps. One sweeping process is enough; any number may sweep."""
    sweep_interval_seconds: float = 60.0
    """Time between two sweeps; a commit that gave up objects wakes this process's sweeper earlier."""
    quota: QuotaCheck | None = None
    """Raises `QuotaExceededError` to refuse a new object; gets its owner and the owner's usage, including the new
    object. Called for objects with an owner (`owner_of_new_objects`), in all databases; must not block."""

    engines: tuple[Database, ...] = field(init=False)
    """The engines of `databases`."""

    def __post_init__(self) -> None:
        """Check what can be checked without a database.

        Raises:
            ConfigurationError: If a session maker is bound to nothing, or the interval is not positive.
        """
        self.engines = tuple(_engine_of(each) for each in self.databases)
        if self.sweep_interval_seconds <= 0:
            raise ConfigurationError(
                f"sweep_interval_seconds must be greater than 0, not {self.sweep_interval_seconds!r}"
            )


def _engine_of(database: Any) -> Database:
    engine = getattr(database, "kw", {}).get("bind", database)
    if not isinstance(engine, (Engine, AsyncEngine)):
        raise ConfigurationError(
            "LedgerConfig.databases takes engines and session makers that are bound to one, not "
            f"{type(engine).__name__}"
        )
    return engine
