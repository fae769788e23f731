"""Events as numbers for Prometheus and OpenTelemetry, and as log lines with fields."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from litestar_filestore import FileObject, MemoryBackend
from litestar_filestore.events import (
    Event,
    FileDoomed,
    FileLinked,
    LedgerCounted,
    OperationEnded,
    SweepEnded,
    UploadEnded,
)
from litestar_filestore.metrics import LogEvents, OpenTelemetryMetrics, PrometheusMetrics

FILE = FileObject(MemoryBackend("documents"), "a.txt", content=b"hello").save()
EVENTS: Sequence[Event] = (
    UploadEnded("documents", "form", "ok", 5, 0.25),
    UploadEnded("documents", "resumable", "ok", 7, None),
    UploadEnded("documents", "form", "refused", 0, 0.5),
    OperationEnded("documents", "put", "failed", 2.0),
    FileLinked("documents", FILE),
    FileLinked("documents", FILE),
    FileDoomed("documents", FILE),
    SweepEnded("sqlite:///rows.sqlite", "documents", 3, 1, 0.1),
    LedgerCounted("sqlite:///rows.sqlite", {("documents", "staged"): 4}, {"documents": 9.0}),
    LedgerCounted("sqlite:///rows.sqlite", {("documents", "staged"): 2}, {"documents": 0.5}),
)
ON_LEDGER = {"database": "sqlite:///rows.sqlite", "backend": "documents"}
EXPECTED = {
    ("uploads", ("documents", "form", "ok")): 1,
    ("uploads", ("documents", "form", "refused")): 1,
    ("uploads", ("documents", "resumable", "ok")): 1,
    ("upload_bytes", ("documents", "form")): 5,
    ("upload_bytes", ("documents", "resumable")): 7,
    ("upload_seconds", ("documents", "form")): 0.75,
    ("operations", ("documents", "put", "failed")): 1,
    ("operation_seconds", ("documents", "put")): 2,
    ("files_linked", ("documents",)): 2,
    ("files_doomed", ("documents",)): 1,
    ("swept_objects", ("documents", "ok")): 3,
    ("swept_objects", ("documents", "failed")): 1,
    ("ledger_objects", ("sqlite:///rows.sqlite", "documents", "staged")): 2,
    ("sweep_lag_seconds", ("sqlite:///rows.sqlite", "documents")): 0.5,
}


def test_prometheus() -> None:
    """Every event is in the numbers that are scraped: counters add up, gauges show the last value."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    for event in EVENTS:
        metrics(event)
    found = {
        (
            sample.name[len("filestore_") :].removesuffix("_total").removesuffix("_sum"),
            (*sample.labels.values(),),
        ): (sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith(("_created", "_bucket", "_count"))
    }
    assert found == EXPECTED


def test_opentelemetry() -> None:
    """The same numbers, as attributes."""
    reader = InMemoryMetricReader()
    metrics = OpenTelemetryMetrics(MeterProvider([reader]).get_meter("test"))
    for event in EVENTS:
        metrics(event)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        (metric.name.removeprefix("filestore."), (*(point.attributes or {}).values(),)): getattr(point, "value", None)
        or getattr(point, "sum", 0)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert found == EXPECTED


def test_standard_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each event is a line, its values are fields of the record, and its level says how bad it is."""
    watcher = LogEvents()
    with caplog.at_level("DEBUG", "litestar_filestore.events"):
        for event in EVENTS:
            watcher(event)
    records = [record for record in caplog.records if record.name == "litestar_filestore.events"]
    assert [(record.message, record.levelno) for record in records][2:8] == [
        ("filestore.upload", logging.INFO),
        ("filestore.operation", logging.WARNING),
        ("filestore.linked", logging.INFO),
        ("filestore.linked", logging.INFO),
        ("filestore.doomed", logging.INFO),
        ("filestore.sweep", logging.WARNING),
    ]
    assert (vars(records[4])["key"], vars(records[4])["size"]) == (FILE.path, 5)


def test_structlog() -> None:
    """A logger of structlog gets the values as keyword arguments."""
    with structlog.testing.capture_logs() as lines:
        watcher = LogEvents(structlog.get_logger())
        for event in EVENTS:
            watcher(event)
    assert lines[0] == {
        "event": "filestore.upload",
        "log_level": "info",
        "backend": "documents",
        "transport": "form",
        "outcome": "ok",
        "size": 5,
        "seconds": 0.25,
    }
    assert lines[-1]["states"] == {"documents.staged": 2}
