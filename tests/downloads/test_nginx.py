"""nginx in front, with the configuration of the documentation: same bytes, same headers as without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.downloads.content import BIG_BYTES, CONTENT, SIZE, big
from tests.downloads.programs import run_program
from tests.downloads.raw import Answer, exchange
from tests.downloads.serving import serve
from tests.servers import nginx
from tests.servers.processes import require

pytestmark = pytest.mark.matrix(cases=2)

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nginx.md"
SERVER_HEADERS = {"date", "server", "connection", "accept-ranges"}  # nginx says the last with a 200 only


class Ports(NamedTuple):
    """Where to ask."""

    nginx: int
    application: int


def _configuration(port: int, files: Path) -> str:
    block = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1].replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("/srv/documents", str(files.resolve()))


@pytest.fixture(scope="module")
def ports(s3_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """An application that hands over to nginx, and nginx."""
    directory = tmp_path_factory.mktemp("behind-nginx")
    files = directory / "files"
    handed_over = {"files": {str(files): "/_files/documents/"}, "remote": "/_remote"}
    settings = {**s3_settings, "root": str(files), "prefix": "behind-nginx", "nginx": handed_over}
    with serve("uvicorn", directory, settings) as served:
        front = tmp_path_factory.mktemp("nginx")
        with require(lambda folder: nginx.serve(folder, _configuration(served.port, files)), front) as port:
            yield Ports(port, served.port)


@pytest.fixture(params=["memory", "local", "s3"])
def backend(request: pytest.FixtureRequest) -> str:
    """Key of one of the backends; nginx reaches the last two."""
    return str(request.param)


def _described(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in SERVER_HEADERS}


def test_the_application_hands_over(ports: Ports) -> None:
    """Behind nginx the application sends no bytes itself: it names the file, or a URL and the range of it."""
    local = exchange(ports.application, "GET", "/local/small")
    assert (local.status, local.body) == (200, b"")
    assert local.headers["x-accel-redirect"].startswith("/_files/documents/")
    remote = exchange(ports.application, "GET", "/s3/small", ("Range", "bytes=-5"))
    assert (remote.headers["x-accel-redirect"], remote.body) == ("/_remote", b"")
    assert remote.headers["x-filestore-range"] == "bytes=995-999"
    assert "X-Amz-Signature=" in remote.headers["x-filestore-url"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((), id="whole"),
        pytest.param((("Range", "bytes=10-19"),), id="range"),
        pytest.param((("Range", "bytes=-7"),), id="suffix"),
        pytest.param((("Range", "bytes=990-"),), id="open"),
        pytest.param((("Range", "bytes=1000-"),), id="unsatisfiable"),
        pytest.param((("Range", "bytes=10-19"), ("If-Range", "{etag}")), id="If-Range holds"),
        pytest.param((("Range", "bytes=10-19"), ("If-Range", '"other"')), id="If-Range fails"),
        pytest.param((("Range", "bytes=10-19"), ("If-Range", "{last-modified}")), id="If-Range with a date"),
        pytest.param((("If-None-Match", "{etag}"),), id="not modified"),
        pytest.param((("If-Modified-Since", "{last-modified}"),), id="not modified since"),
        pytest.param((("If-Match", '"other"'),), id="failed"),
    ],
)
def test_same_answers(ports: Ports, backend: str, headers: tuple[tuple[str, str], ...]) -> None:
    """Status, bytes and headers are those that the application would have sent."""
    known = exchange(ports.nginx, "HEAD", f"/{backend}/small").headers
    asked = [(name, value.format(**known)) for name, value in headers]
    through = exchange(ports.nginx, "GET", f"/{backend}/small", *asked)
    direct = exchange(ports.application, "GET", f"/{backend}/small?delivery=stream", *asked)
    assert (through.status, through.body) == (direct.status, direct.body)
    assert _described(through) == _described(direct)
    assert len(set(through.names)) == len(through.names)


def test_malformed_ranges(ports: Ports, backend: str) -> None:
    """A malformed range is ignored by the application, and refused by nginx where that sends a file of the disk."""
    answer = exchange(ports.nginx, "GET", f"/{backend}/small", ("Range", "bytes=9-5"))
    assert answer.status == (416 if backend == "local" else 200)


def test_several_ranges(ports: Ports, backend: str) -> None:
    """Several ranges come as parts, whoever puts them together."""
    answer = exchange(ports.nginx, "GET", f"/{backend}/small", ("Range", "bytes=0-7,500-507"))
    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    for start in (0, 500):
        assert f"bytes {start}-{start + 7}/{SIZE}".encode() in answer.body
        assert CONTENT[start : start + 8] in answer.body


def test_large_objects(ports: Ports, backend: str) -> None:
    """Every byte of an object that is larger than all buffers arrives."""
    answer = exchange(ports.nginx, "GET", f"/{backend}/big")
    assert (answer.length, answer.body == big()) == (BIG_BYTES, True)
    assert answer.headers["accept-ranges"] == "bytes"


def test_empty_objects(ports: Ports, backend: str) -> None:
    """An empty file is an empty answer."""
    answer = exchange(ports.nginx, "GET", f"/{backend}/empty", ("Range", "bytes=0-"))
    assert (answer.status, answer.length, answer.body) == (200, 0, b"")


def test_missing_objects(ports: Ports, backend: str) -> None:
    """An object that is gone is a 404, and nothing of the store shows."""
    answer = exchange(ports.nginx, "GET", f"/{backend}/small/gone")
    assert answer.status == 404
    assert not any(name.startswith("x-amz") for name in answer.headers)
    assert b"NoSuchKey" not in answer.body


@pytest.mark.parametrize("target", ["/_files/documents/", "/_remote", "/_files/documents/../../etc/passwd"])
def test_internal_locations_are_internal(ports: Ports, target: str) -> None:
    """Nobody reaches the files around the application, not with headers of its own making either."""
    spoofed = (("X-Accel-Redirect", "/_remote"), ("X-Filestore-Url", f"http://127.0.0.1:{ports.application}/"))
    assert exchange(ports.nginx, "GET", target, *spoofed).status in {400, 404}


def test_curl_resumes(ports: Ports, backend: str, tmp_path: Path) -> None:
    """A download that was cut goes on where it ended."""
    part = tmp_path / "part"
    part.write_bytes(big()[:3_000_001])
    url = f"http://127.0.0.1:{ports.nginx}/{backend}/big"
    run_program("curl", "--silent", "--fail", "--continue-at", "-", "--output", part, url)
    assert part.read_bytes() == big()
