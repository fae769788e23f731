"""Handlers of every kind answer as the OpenAPI document says, whatever is sent to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, free_port, running

EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
UPLOADS = {400, 408, 409, 413, 415, 503, 507}
READS = {200, 206, 304, 400, 404, 412, 416, 503}
STATUSES: dict[tuple[str, str], set[int]] = {
    ("POST", "/papers"): {201, *UPLOADS},
    ("PATCH", "/papers/{paper_id}"): {200, 404, *UPLOADS},
    ("POST", "/notes"): {201, *UPLOADS},
    ("POST", "/files"): {201, *UPLOADS},
    ("POST", "/parts"): {201, *UPLOADS},
    ("PUT", "/raw"): {200, *UPLOADS},
    ("GET", "/latest"): READS - {400},
    ("GET", "/papers/{id}/file"): READS,
    ("PUT", "/papers/{id}/file"): {200, 201, 404, 412, *UPLOADS},
    ("DELETE", "/papers/{id}/file"): {204, 400, 404, 409, 412, 503},
    ("GET", "/papers/{id}/pages/{file_id}"): {403, *READS},
    ("PUT", "/papers/{id}/pages/{file_id}"): {200, 201, 403, 404, 412, *UPLOADS},
    ("DELETE", "/papers/{id}/pages/{file_id}"): {204, 400, 403, 404, 409, 412, 503},
    ("GET", "/media/{file_key}"): READS,
    ("PUT", "/media/{file_key}"): {201, 404, 412, *UPLOADS},
    ("DELETE", "/media/{file_key}"): {204, 400, 404, 412, 503},
    ("GET", "/guarded/{file_key}"): {403, *READS},
    ("PUT", "/guarded/{file_key}"): {201, 403, 404, 412, *UPLOADS},
    ("DELETE", "/guarded/{file_key}"): {204, 400, 403, 404, 412, 503},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application, running, with a row."""
    folder, port = tmp_path_factory.mktemp("every-handler"), free_port()
    surroundings = Surroundings(environment={**TESTS_IMPORTABLE, "EVERY_HANDLER_FOLDER": str(folder), "NO_PROXY": HOST})
    app = ["uvicorn", "tests.plugin.every_handler:create_app", "--factory", "--no-access-log"]
    command = [sys.executable, "-P", "-m", *app, "--host", HOST, "--port", str(port)]
    with running("every-handler", command, folder, surroundings) as process:
        process.wait_for_port(port)
        url = f"http://{HOST}:{port}"
        for _ in range(2):
            httpx.post(
                f"{url}/papers", data={"title": "a"}, files={"file": b"text"}, trust_env=False
            ).raise_for_status()
        yield url


@pytest.fixture(scope="module")
def schema(url: str) -> OpenApiSchema:
    """Its document."""
    return schemathesis.openapi.from_url(f"{url}/schema/openapi.json")


def test_every_status_is_documented(url: str) -> None:
    """The document is valid, and has the answers of the table and no others."""
    document = httpx.get(f"{url}/schema/openapi.json", trust_env=False).json()
    OpenAPIV31SpecValidator(document).validate()
    found = {
        (method.upper(), path): set(map(int, operation["responses"]))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "responses" in operation
    }
    assert found == STATUSES


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), STATUSES)
def test_answers_are_as_documented(method: str, path: str, schema: OpenApiSchema) -> None:
    """Valid and invalid requests get a status, a type and a body that the document knows, and never a 500."""

    @seed(9)
    @EXAMPLES
    @given(case=schema[path][method].as_strategy())
    def check(case: Case[Any]) -> None:
        # A name with a backslash before its closing quote can be read in two ways, and is refused.
        assume(not (isinstance(case.body, dict) and any("\\" in str(name) for name in case.body)))
        case.call_and_validate()

    check()
