"""Watchers that count: for Prometheus, for OpenTelemetry, and for logs with fields. Each needs only its own library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar_filestore.metrics.log_events import LogEvents
    from litestar_filestore.metrics.opentelemetry_metrics import OpenTelemetryMetrics
    from litestar_filestore.metrics.prometheus_metrics import PrometheusMetrics

__all__ = ("LogEvents", "OpenTelemetryMetrics", "PrometheusMetrics")

_HOMES = {
    "LogEvents": "log_events",
    "OpenTelemetryMetrics": "opentelemetry_metrics",
    "PrometheusMetrics": "prometheus_metrics",
}
"""The module of each name, for the interpreter; the imports above are for type checkers."""


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use does not need this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
