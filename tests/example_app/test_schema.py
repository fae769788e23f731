"""The example app does what its OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.example_app.example import Example, serve_on_disk

OPERATIONS = [
    ("GET", "/documents"),
    ("POST", "/documents"),
    ("GET", "/documents/{id}"),
    ("DELETE", "/documents/{id}"),
    ("POST", "/documents/{id}/files"),
    ("GET", "/documents/{id}/downloads/{file_id}"),
    ("PUT", "/documents/{id}/files/{file_id}"),
    ("DELETE", "/documents/{id}/files/{file_id}"),
    ("GET", "/documents/{id}/previews/{file_id}"),
    ("POST", "/documents/{id}/restore"),
    ("POST", "/documents/{id}/shares"),
]

EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The app on disk."""
    with serve_on_disk(tmp_path_factory.mktemp("example-schema")) as running:
        yield running


@pytest.fixture(scope="module")
def schema(example: Example) -> OpenApiSchema:
    """Its document."""
    return schemathesis.openapi.from_url(f"{example.url}/schema/openapi.json")


def test_every_operation_is_tested(schema: OpenApiSchema) -> None:
    """The list above is that of the document."""
    results: list[Any] = list(schema.get_all_operations())
    operations = [each.ok() for each in results]
    assert sorted((each.method.upper(), each.path) for each in operations) == sorted(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_documented(method: str, path: str, schema: OpenApiSchema) -> None:
    """Valid and invalid requests get a status, a type and a body that the document knows, and never a 500."""

    @seed(4)
    @EXAMPLES
    @given(case=schema[path][method].as_strategy())
    def check(case: Case[Any]) -> None:
        case.call_and_validate()

    check()
