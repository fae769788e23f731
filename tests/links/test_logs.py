"""Who reads a log learns no link: neither from what this package logs, nor, with a filter, from what others do."""

from __future__ import annotations

import io
import logging
import logging.config
import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.logging.config import LoggingConfig

from litestar_filestore import FileObject, HideTokens, MemoryBackend, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyBackend
from tests.links.conftest import Serve, put

TOKEN = re.compile(r"[A-Za-z0-9_-]{8}\.[A-Za-z0-9_-]{20,}")


def upload_link(**wish: Any) -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject("documents", "a.txt"), for_upload=True, **wish)


def test_own_logs_hold_no_token(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever becomes of a request with a token, what this package writes about it does not hold the token."""
    backend = FaultyBackend(MemoryBackend("documents"))
    client = serve(backend, logging_config=None).client
    file = put(backend)
    reading, writing = storages.url_for(file), upload_link()
    with caplog.at_level(logging.DEBUG, "litestar_filestore"):
        statuses = [
            client.get(reading[:-1]).status_code,
            client.put(writing, content=b"abc").status_code,
            client.put(writing, content=b"abc").status_code,
            client.put(upload_link(max_bytes=1), content=b"abc").status_code,
        ]
        backend.faulty.plan += [Fault("put", BackendUnavailableError("down"), call=number) for number in range(20)]
        statuses.append(client.put(upload_link(), content=b"abc").status_code)
        file.delete()
        statuses.append(client.get(reading).status_code)
    records = [each for each in caplog.records if each.name.startswith("litestar_filestore")]
    assert statuses == [403, 201, 409, 413, 503, 404]
    assert records
    assert [each for each in map(logging.Formatter().format, records) if TOKEN.search(each)] == []


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler with the filter has written; the root logger is as before afterwards."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield stream
    for name in ("litestar",):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    root.handlers[:] = handlers
    root.setLevel(level)


def test_filter_keeps_tokens_out_of_the_log_of_the_application(
    serve: Serve, memory: MemoryBackend, log: io.StringIO
) -> None:
    """With ``log_exceptions="always"`` Litestar logs the path of each refused request, and so a link that lives on."""
    config = LoggingConfig(
        log_exceptions="always",
        filters={"hide_tokens": {"()": "litestar_filestore.HideTokens"}},
        handlers={"stream": {"class": "logging.StreamHandler", "stream": log, "filters": ["hide_tokens"]}},
        loggers={"litestar": {"level": "INFO", "handlers": ["stream"], "propagate": False}},
        root={"level": "WARNING", "handlers": ["stream"]},
    )
    client = serve(memory, logging_config=config).client
    url = upload_link(max_bytes=2)
    assert client.put(url, content=b"abc").status_code == 413
    written = log.getvalue()
    assert "/filestore/[token]" in written
    assert url.rpartition("/")[2] not in written


def test_filter_leaves_other_records_as_they_are() -> None:
    """Nothing is dropped, and arguments stay apart from the message for handlers that want them."""
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%d of %s", (7, "a.b.c"), None)
    assert HideTokens().filter(record)
    assert (record.msg, record.args) == ("%d of %s", (7, "a.b.c"))
