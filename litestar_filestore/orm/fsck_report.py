"""What fsck may do, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from litestar_filestore.orm.ledger import ObjectKey

__all__ = (
    "MISSING",
    "SHARED",
    "SIZE",
    "UNKNOWN_ROW",
    "UNOWNED",
    "UNSHARED",
    "UNTRACKED",
    "Finding",
    "FsckConfig",
    "FsckReport",
)

UNTRACKED = "untracked object"
"""Kind of a finding: an object that the ledger does not know."""
MISSING = "missing object"
"""Kind of a finding: a row or entry whose object is not there."""
SIZE = "size mismatch"
"""Kind of a finding: an object of another size than its entry says."""
UNKNOWN_ROW = "row without ledger"
"""Kind of a finding: a file in a row that the ledger does not know."""
UNOWNED = "linked without row"
"""Kind of a finding: an entry that says linked, and no row."""
SHARED = "object of several rows"
"""Kind of a finding: an object that several rows hold, and the ledger does not know it: the end of one row would delete
the file of the others. Repaired by entering it as shared."""
UNSHARED = "shared object of one row or none"
"""Kind of a finding: an object that was held by several rows. Repaired by handing it to the last one, or dooming it."""


@dataclass
class FsckConfig:
    """What fsck may do."""

    repair: bool = False
    """Whether to enter rows without a ledger entry, and to doom objects that nothing needs. ``False`` only reports."""
    minimum_age_seconds: float = 24 * 3600.0
    """Objects and entries younger than this are left alone: their transaction may be open."""
    max_doomed_percent: float = 10.0
    """Refuse to doom more than this share of the objects of a backend; 100 allows everything."""
    max_findings: int = 1000
    """Findings kept in the report; all are counted and repaired."""


class Finding(NamedTuple):
    """One thing that does not fit."""

    kind: str
    """One of the names of this module, such as ``"missing object"``."""
    object: ObjectKey
    """Which object."""
    detail: str = ""
    """What is known beside."""


@dataclass
class FsckReport:
    """What fsck saw."""

    objects: int = 0
    """Objects listed."""
    entries: int = 0
    """Linked entries of the ledger."""
    row_files: int = 0
    """Files in rows."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Findings by kind."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first of them."""
    adopted: int = 0
    """Rows without entry that got one."""
    unshared: int = 0
    """Shared objects that were handed to the one row that is left of theirs."""
    doomed: int = 0
    """Objects that were handed to the sweeper."""

    @property
    def is_clean(self) -> bool:
        """Whether everything fits."""
        return not self.counts
