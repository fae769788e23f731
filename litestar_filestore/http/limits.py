"""How much a request may send, how slowly, and how many may at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.rules import max_bytes, max_files
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.budget import ByteBudget, UploadSlots
from litestar_filestore.http.part_budget import PartBudget

if TYPE_CHECKING:
    from litestar_filestore.core.rules import Rule
    from litestar_filestore.http.plan import PlannedFile, UploadPlan

__all__ = ("FormLimits", "UploadLimits", "file_limit", "form_limits")

_KIB = 1024
_MIB = 1024 * 1024
_HEADERS_BYTES = 64 * _KIB
"""Room for boundaries and headers in a limit that is derived from the content."""

_NOT_NEGATIVE = (
    "max_file_bytes",
    "max_field_bytes",
    "max_fields_bytes",
    "min_bytes_per_second",
    "busy_bytes_per_second",
    "part_buffer_bytes",
)
_AT_LEAST_ONE = (
    "max_parts",
    "max_files",
    "max_headers",
    "max_header_bytes",
    "max_uploads",
    "max_uploads_per_address",
    "retry_after_seconds",
)


@dataclass
class UploadLimits:
    """Limits of uploads. Sizes are in bytes and inclusive, times in seconds."""

    max_file_bytes: int = 25 * _MIB
    """Longest file where no rule (`MaxSize`) says anything; the nearest rule wins, be it higher or lower."""
    max_total_bytes: int | None = None
    """Longest body. ``None`` derives it for each handler: what its files and fields may have together. A handler's
    ``request_max_body_size`` wins."""
    max_field_bytes: int = 64 * _KIB
    """Longest value of a field that is no file."""
    max_fields_bytes: int = _MIB
    """Longest all such values together."""
    max_parts: int = 100
    """Parts of a form, files and fields."""
    max_files: int = 10
    """Files of a form where no rule (`MaxFiles`) allows more."""
    max_headers: int = 8
    """Headers of a part; browsers send two."""
    max_header_bytes: int = 4 * _KIB
    """Length of a part's header, its name included."""
    idle_seconds: float = 30.0
    """How long a client may send nothing at all. Time in which the backend is slow does not count."""
    min_bytes_per_second: int = _KIB
    """Rate below which a client is given up; 0 for none."""
    rate_seconds: float = 30.0
    """Time of waiting for the client over which the rate is taken."""
    request_seconds: float | None = 4 * 3600.0
    """How long a request may take to arrive; ``None`` for no limit."""
    max_uploads: int = 32
    """Uploads to each backend that a process reads at a time; the next one is answered 503 and asked to come back."""
    max_uploads_per_address: int | None = None
    """How many of them one client address may have, or one IPv6 network of 64 bits; ``None`` for three quarters. Behind
    a proxy on another host this needs a server that knows the clients' addresses (``--proxy-headers``)."""
    retry_after_seconds: int = 5
    """When to come back."""
    buffer_bytes: int = 64 * _MIB
    """What all uploads of a process hold between clients and backends; beyond it, clients wait."""
    part_buffer_bytes: int = 256 * _MIB
    """What backends that upload in parts (S3, Google, Azure) hold of all uploads of a process; beyond it, uploads wait
    for their turn, of which one is always let through."""
    busy_bytes_per_second: int = 16 * _KIB
    """Rate below which a client is given up while others are refused a slot, or wait for the memory that its upload
    has; 0 for none."""
    slots: UploadSlots = field(init=False, repr=False, compare=False)
    """The uploads that are being read now."""
    budget: ByteBudget = field(init=False, repr=False, compare=False)
    """The memory that they hold now."""
    part_budget: PartBudget = field(init=False, repr=False, compare=False)
    """The memory that backends hold of them now."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: If one cannot work.
        """
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"UploadLimits.{name} is not negative")
        for name in _AT_LEAST_ONE:
            if (count := getattr(self, name)) is not None and count < 1:
                raise ConfigurationError(f"UploadLimits.{name} is at least 1")
        for name in ("idle_seconds", "rate_seconds", "request_seconds"):
            if (seconds := getattr(self, name)) is not None and not seconds > 0:
                raise ConfigurationError(f"UploadLimits.{name} is more than 0")
        if self.max_total_bytes is not None and self.max_total_bytes < 0:
            raise ConfigurationError("UploadLimits.max_total_bytes is not negative")
        if self.buffer_bytes < _MIB:
            raise ConfigurationError("UploadLimits.buffer_bytes is at least a mebibyte: one block")
        share = self.max_uploads_per_address
        # Rounded up, so that one has a slot where there is one.
        self.slots = UploadSlots(self.max_uploads, share or -(-3 * self.max_uploads // 4), self.rate_seconds)
        self.budget = ByteBudget(self.buffer_bytes)
        self.part_budget = PartBudget(self.part_buffer_bytes)


class FormLimits(NamedTuple):
    """What one handler's form may hold."""

    files: int
    """Files, those of undeclared names included."""
    parts: int
    """Parts."""
    total_bytes: int
    """Length of the body."""


def file_limit(rules: tuple[Rule, ...], limits: UploadLimits, most: int | None = None) -> int:
    """Return how long a file may be by its rules, in bytes.

    Args:
        rules: Its rules, the nearest ones.
        limits: What holds where nothing else is said.
        most: What a link or a route says: it does not lift what a rule allows, whoever has declared that.
    """
    said = [each for each in (max_bytes(rules), most) if each is not None]
    return min(said, default=limits.max_file_bytes)


def form_limits(plan: UploadPlan, limits: UploadLimits) -> FormLimits:
    """Return the limits of a form that nobody has limited as a whole."""
    # A field may have several names; as planned, it is one and the same.
    planned = list({id(each): each for each in (*plan.files.values(), plan.any_name) if each is not None}.values())
    counts = [_count(each, limits) for each in planned]
    files = max(limits.max_files, sum(counts) + len(plan.spooled))
    parts = limits.max_parts + files - limits.max_files
    derived = (
        sum(file_limit(each.rules, limits, each.max_bytes) * count for each, count in zip(planned, counts, strict=True))
        + len(plan.spooled) * limits.max_file_bytes
        + limits.max_fields_bytes
        + _HEADERS_BYTES
    )
    return FormLimits(files, parts, derived if limits.max_total_bytes is None else limits.max_total_bytes)


def _count(planned: PlannedFile, limits: UploadLimits) -> int:
    if not planned.many:
        return 1
    allowed = max_files(planned.rules)
    return limits.max_files if allowed is None else allowed
