"""Numbers for OpenTelemetry."""

from __future__ import annotations

from typing import Any

from litestar_filestore.errors import MissingDependencyError
from litestar_filestore.metrics.instruments import INSTRUMENTS, Kind, Metrics

try:
    from opentelemetry.metrics import Meter, get_meter
except ImportError as error:
    raise MissingDependencyError(
        "OpenTelemetryMetrics needs opentelemetry-api: pip install 'litestar-filestore[opentelemetry]'"
    ) from error

__all__ = ("OpenTelemetryMetrics",)


class OpenTelemetryMetrics(Metrics):
    """A watcher that records numbers with OpenTelemetry; where they go is decided by the provider of the meter."""

    def __init__(self, meter: Meter | None = None, *, prefix: str = "filestore") -> None:
        """Make the instruments.

        Args:
            meter: Makes them; ``None`` takes that of the program's provider.
            prefix: First word of the names.
        """
        meter = meter or get_meter("litestar_filestore")
        make: dict[Kind, Any] = {
            Kind.COUNTER: meter.create_counter,
            Kind.HISTOGRAM: meter.create_histogram,
            Kind.GAUGE: meter.create_gauge,
        }
        self._instruments: dict[str, Any] = {
            name: make[each.kind](f"{prefix}.{name}", unit=each.unit, description=each.about)
            for name, each in INSTRUMENTS.items()
        }

    def record(self, name: str, value: float, *labels: str) -> None:
        """Take a value for an instrument."""
        found, about = self._instruments[name], INSTRUMENTS[name]
        attributes = dict(zip(about.labels, labels, strict=True))
        match about.kind:
            case Kind.COUNTER:
                found.add(value, attributes)
            case Kind.HISTOGRAM:
                found.record(value, attributes)
            case Kind.GAUGE:
                found.set(value, attributes)
