"""Every shape of a form, everything that clients send, every server: answers, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.uploads.cases import BOUNDARY, CASES, SHAPES, Case, Shape, encode
from tests.uploads.servers import SERVERS, Target

ROWS = [
    pytest.param(path, case, id=f"{path[1:]}-{case.replace(' ', '-')}")
    for path, shape in SHAPES.items()
    for case in CASES
    if CASES[case].suits(shape)
]


@pytest.fixture(scope="module", params=SERVERS)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The application, once for each server."""
    with SERVERS[request.param](tmp_path_factory.mktemp("shapes")) as target:
        # Connections of pools stay open from the first request on, and are not the first test's to close.
        send(target.client, "/dataclass", SHAPES["/dataclass"], CASES["one file"])
        target.store.settle()
        yield target


def send(client: httpx.Client, path: str, shape: Shape, case: Case) -> httpx.Response:
    """Send what a case says to a shape."""
    body = encode(case.parts(shape))
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return client.post(path, content=body[: len(body) - case.cut], headers=headers)


def check_error(body: dict[str, Any], status: int, key: str | None) -> None:
    """Check that a body is an error in Litestar's format, and about the field that is meant."""
    assert (body["status_code"], bool(body["detail"])) == (status, True)
    for each in body.get("extra", ()):
        assert set(each) <= {"message", "key", "source"}
        # Litestar leaves the source out where a pydantic model refuses.
        assert (bool(each["message"]), each.get("source", "body")) == (True, "body")
    if key is not None:
        assert [each["key"] for each in body["extra"]] == [key]


@pytest.mark.matrix(cases=60)
@pytest.mark.parametrize(("path", "name"), ROWS)
def test_post(path: str, name: str, target: Target) -> None:
    """The answer is what the table says, and in store, rows and ledger there is what was accepted and nothing else."""
    case, shape = CASES[name], SHAPES[path]
    expected = case.expected(shape)
    before = target.store.settle()
    response = send(target.client, path, shape, case)
    assert response.status_code == expected.status, response.text
    after = target.store.settle()
    assert after.is_consistent
    if expected.names is None:
        check_error(response.json(), expected.status, expected.key)
    else:
        assert sorted(response.json()) == sorted(expected.names)
    assert len(after.rows - before.rows) == len(expected.names or ())
