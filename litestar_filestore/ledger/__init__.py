"""The public interface of the ledger: its configuration, sweeps, checks and quotas."""

from __future__ import annotations

from litestar_filestore.ledger.adopt import Adoption, MissingObject, SharedObject, adopt, adopt_async
from litestar_filestore.ledger.fsck import Finding, FsckConfig, FsckReport, fsck, fsck_async
from litestar_filestore.ledger.ledger import Ledger, ObjectKey, Usage
from litestar_filestore.ledger.ledger_config import Database, LedgerConfig
from litestar_filestore.ledger.places import mappers_with_files
from litestar_filestore.ledger.quota import QuotaCheck, enforce_quota, owner_of_new_objects
from litestar_filestore.ledger.sweep import SweepConfig, SweepResult, sweep, sweep_async
from litestar_filestore.ledger.table import State, ledger_of

__all__ = (
    "Adoption",
    "Database",
    "Finding",
    "FsckConfig",
    "FsckReport",
    "Ledger",
    "LedgerConfig",
    "MissingObject",
    "ObjectKey",
    "QuotaCheck",
    "SharedObject",
    "State",
    "SweepConfig",
    "SweepResult",
    "Usage",
    "adopt",
    "adopt_async",
    "enforce_quota",
    "fsck",
    "fsck_async",
    "ledger_of",
    "mappers_with_files",
    "owner_of_new_objects",
    "sweep",
    "sweep_async",
)
