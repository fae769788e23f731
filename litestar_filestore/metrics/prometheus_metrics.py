"""Numbers for Prometheus."""

from __future__ import annotations

from typing import Any

from litestar_filestore.errors import MissingDependencyError
from litestar_filestore.metrics.instruments import INSTRUMENTS, Kind, Metrics

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise MissingDependencyError(
        "PrometheusMetrics needs prometheus-client: pip install 'litestar-filestore[prometheus]'"
    ) from error

__all__ = ("PrometheusMetrics",)

_KINDS: dict[Kind, Any] = {Kind.COUNTER: Counter, Kind.HISTOGRAM: Histogram, Kind.GAUGE: Gauge}


class PrometheusMetrics(Metrics):
    """A watcher that keeps numbers for Prometheus; Litestar's ``PrometheusController`` shows them."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, prefix: str = "filestore") -> None:
        """Make the instruments.

        Args:
            registry: Where they are collected; one registry takes one of these.
            prefix: First word of the names.
        """
        self._instruments: dict[str, Any] = {
            name: _KINDS[each.kind](f"{prefix}_{name}", each.about, each.labels, registry=registry)
            for name, each in INSTRUMENTS.items()
        }

    def record(self, name: str, value: float, *labels: str) -> None:
        """Take a value for an instrument."""
        found = self._instruments[name].labels(*labels)
        match INSTRUMENTS[name].kind:
            case Kind.COUNTER:
                found.inc(value)
            case Kind.HISTOGRAM:
                found.observe(value)
            case Kind.GAUGE:
                found.set(value)
