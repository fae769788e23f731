"""What the commands find out, as they print it with ``--json``: one document each.

Fields are added in later releases, and none is removed or gets another meaning.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

__all__ = (
    "AdoptReport",
    "AdoptedLedger",
    "BackendCheck",
    "BackendEntry",
    "CheckReport",
    "CheckedLedger",
    "CheckedLedgers",
    "CorsReport",
    "DatabaseCheck",
    "ErrorReport",
    "FindingEntry",
    "LedgerUsage",
    "ListReport",
    "MigrateReport",
    "MissingEntry",
    "OwnerUsage",
    "SharedEntry",
    "Skipped",
    "StateUsage",
    "Step",
    "StepOutcome",
    "SweepReport",
    "UsageReport",
)

StepOutcome: TypeAlias = Literal["ok", "failed", "skipped", "unsupported"]
"""``skipped``: could not be tried. ``unsupported``: the store has nothing of the kind, and needs none."""


class BackendEntry(msgspec.Struct, frozen=True):
    """A configured backend."""

    key: str
    """Its name in columns and rows."""
    service: str
    """``s3``, ``file`` ..."""
    library: str
    """``obstore``, ``local`` ..."""
    place: str
    """Bucket or folder, with the prefix."""
    can: list[str]
    """Names of its capabilities, in lower case."""


class ListReport(msgspec.Struct, frozen=True):
    """``list``."""

    backends: list[BackendEntry]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a probe."""

    name: str
    """``reach``, ``put``, ``read``, ``range``, ``list``, ``sign`` or ``delete``."""
    outcome: StepOutcome
    seconds: float = 0.0
    reason: str | None = None
    """Why it is not ``ok``, and what helps."""
    error: str | None = None
    """Name of the error class in `litestar_filestore.errors`, if it failed with one."""
    permission: str | None = None
    """What the account lacks, in the words of the service."""


class BackendCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do."""

    key: str
    service: str
    library: str
    place: str
    ok: bool
    """Whether nothing failed."""
    steps: list[Step]
    policy: str | None = None
    """The least that the account has to be allowed, if something is missing: for S3 the JSON of a policy."""
    left_behind: str | None = None
    """Key of the probe, if it could not be removed."""


class DatabaseCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a database."""

    url: str
    """Its address without the password."""
    ok: bool
    ledgers: int = 0
    reason: str | None = None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """``check``."""

    ok: bool
    backends: list[BackendCheck]
    databases: list[DatabaseCheck]
    without_ledger: list[str] = []
    """Classes with file columns whose ledger was found nowhere."""
    reason: str | None = None
    """What to do about those classes."""


class Skipped(msgspec.Struct, frozen=True):
    """What a command left alone."""

    what: str
    reason: str
    count: int | None = None


class SweepReport(msgspec.Struct, frozen=True, kw_only=True):
    """``sweep``."""

    ok: bool
    ledgers: int
    deleted: int
    forgotten: int
    failed: int
    skipped: list[Skipped]


class SharedEntry(msgspec.Struct, frozen=True):
    """An object that several rows hold."""

    backend: str
    key: str
    holders: int
    places: list[str]
    """The first of them, as ``Document(5).file``."""


class MissingEntry(msgspec.Struct, frozen=True):
    """An object that rows hold, and that its backend does not."""

    backend: str
    key: str
    places: list[str]
    """The first of them, as ``Document(5).file``."""


class AdoptedLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What was entered into one ledger."""

    database: str
    adopted: int
    known: int
    shared_count: int
    shared: list[SharedEntry]
    """The first thousand."""
    missing_count: int
    missing: list[MissingEntry]
    """The first thousand."""


class AdoptReport(msgspec.Struct, frozen=True):
    """``adopt``."""

    ledgers: list[AdoptedLedger]
    skipped: list[Skipped]
    """Backends that could not be compared with the rows."""


class FindingEntry(msgspec.Struct, frozen=True):
    """One difference."""

    kind: str
    backend: str
    key: str
    detail: str = ""


class CheckedLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, found and repaired in one ledger."""

    database: str
    objects: int
    entries: int
    row_files: int
    counts: dict[str, int]
    """Findings by kind."""
    findings: list[FindingEntry]
    """The first thousand."""
    adopted: int
    unshared: int
    doomed: int
    recounted: int
    skipped: list[Skipped]


class CheckedLedgers(msgspec.Struct, frozen=True, kw_only=True):
    """``fsck``."""

    ok: bool
    """Whether nothing was found, and no backend skipped."""
    ledgers: list[CheckedLedger]
    skipped: list[Skipped]
    """Backends that cannot be used."""


class StateUsage(msgspec.Struct, frozen=True):
    """Objects of one backend in one state of the ledger."""

    backend: str
    state: str
    objects: int
    bytes: int


class OwnerUsage(msgspec.Struct, frozen=True):
    """Objects of one owner that are or may be in the store."""

    owner: str
    objects: int
    bytes: int
    doomed_objects: int
    """Those among them that are to be deleted."""
    doomed_bytes: int


class LedgerUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the objects of one ledger take up."""

    database: str
    backends: list[StateUsage] | None = None
    """``null`` if an owner was asked for."""
    owners: list[OwnerUsage]
    """The owner that was asked for, or the largest ones."""


class UsageReport(msgspec.Struct, frozen=True):
    """``usage``."""

    ledgers: list[LedgerUsage]


class CorsReport(msgspec.Struct, frozen=True, kw_only=True):
    """``cors``."""

    ok: bool
    """Whether pages of the origin may upload."""
    backend: str
    origin: str
    rule: dict[str, Any]
    """What the bucket has to permit, as S3 calls it."""
    applied: bool
    """Whether this run has set the rule."""
    missing: list[str]
    """What the bucket refuses to those pages."""


class MigrateReport(msgspec.Struct, frozen=True, kw_only=True):
    """``migrate``: what was done, or with ``--status`` how it stands."""

    source: str
    """Key of the backend that objects move from."""
    target: str
    complete: bool
    """Whether every object of the source is in the target, and verified."""
    objects: int
    """Objects in the source."""
    moved: int
    """Those of them that are in the target, and verified."""
    left: int
    bytes_left: int
    copied: int
    """Objects copied by this run."""
    verified: int
    """Objects that were in both before, and turned out to be the same."""
    gone: int
    """Objects that were deleted while they were copied."""
    bytes: int
    """Bytes copied by this run."""
    unfinished: int
    """Parts of unfinished uploads, which end in the source."""
    failed: dict[str, int]
    """Objects that could not be moved, by error class."""
    failures: dict[str, str]
    """The first thousand of them, and why."""


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Why a command could not do its work."""

    error: str
    """Name of the error class."""
    reason: str
    backend: str | None = None
    operation: str | None = None
    key: str | None = None
