"""Lighttpd in front, with the configuration of the documentation: local files by ``X-Sendfile``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.downloads.content import BIG_BYTES, CONTENT, big
from tests.downloads.raw import exchange
from tests.downloads.serving import serve
from tests.servers import lighttpd
from tests.servers.processes import require

pytestmark = pytest.mark.matrix(cases=2)

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nginx.md"
SERVER_HEADERS = {"date", "server", "connection"}


class Ports(NamedTuple):
    """Where to ask."""

    lighttpd: int
    application: int


def _configuration(port: int, files: Path) -> str:
    block = re.search(r"```lighttpd\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1].replace("8000", str(port)).replace("/srv/documents", str(files.resolve()))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """An application that hands local files over to Lighttpd, and Lighttpd."""
    directory = tmp_path_factory.mktemp("behind-lighttpd")
    files = directory / "files"
    settings: dict[str, Any] = {"root": str(files), "x_sendfile": [str(files)]}
    with serve("uvicorn", directory, settings) as served:
        front = tmp_path_factory.mktemp("lighttpd")
        with require(lambda folder: lighttpd.serve(folder, _configuration(served.port, files)), front) as port:
            yield Ports(port, served.port)


@pytest.mark.parametrize("backend", ["memory", "local"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((), id="whole"),
        pytest.param((("Range", "bytes=10-19"),), id="range"),
        pytest.param((("Range", "bytes=-7"),), id="suffix"),
        pytest.param((("Range", "bytes=1000-"),), id="unsatisfiable"),
        pytest.param((("Range", "bytes=10-19"), ("If-Range", "{etag}")), id="If-Range holds"),
        pytest.param((("Range", "bytes=10-19"), ("If-Range", '"other"')), id="If-Range fails"),
        pytest.param((("If-None-Match", "{etag}"),), id="not modified"),
        pytest.param((("If-Match", '"other"'),), id="failed"),
    ],
)
def test_same_answers(ports: Ports, backend: str, headers: tuple[tuple[str, str], ...]) -> None:
    """Status, bytes and headers are those that the application would have sent."""
    known = exchange(ports.lighttpd, "HEAD", f"/{backend}/small").headers
    asked = [(name, value.format(**known)) for name, value in headers]
    through = exchange(ports.lighttpd, "GET", f"/{backend}/small", *asked)
    direct = exchange(ports.application, "GET", f"/{backend}/small?delivery=stream", *asked)
    assert (through.status, through.body) == (direct.status, direct.body)
    described = [{n: v for n, v in each.headers.items() if n not in SERVER_HEADERS} for each in (through, direct)]
    assert described[0] == described[1]


def test_the_application_hands_over(ports: Ports) -> None:
    """Behind Lighttpd the application names the file and sends nothing of it, and clients do not see the name."""
    answer = exchange(ports.application, "GET", "/local/small")
    assert answer.body == b""
    assert Path(answer.headers["x-sendfile"]).read_bytes() == CONTENT
    assert "x-sendfile" not in exchange(ports.lighttpd, "GET", "/local/small").headers


def test_large_objects(ports: Ports) -> None:
    """Every byte of a large file arrives."""
    answer = exchange(ports.lighttpd, "GET", "/local/big")
    assert (answer.length, answer.body == big()) == (BIG_BYTES, True)
