"""Forms that need no file, written as text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from litestar import Litestar, post
from litestar.datastructures import UploadFile
from litestar.params import MultipartBody
from litestar.testing import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, MaxSize, MemoryBackend, UploadLimits

TEXT = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Optional:
    title: str
    file: Annotated[FileObject | None, MaxSize("1 MB")] = None
    more: list[FileObject] = field(default_factory=list)
    spooled: UploadFile | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Required:
    title: str
    file: FileObject


@post("/optional")
async def optional(data: MultipartBody[Optional]) -> dict[str, Any]:
    """Say what came."""
    return {"title": data.title, "tags": data.tags, "files": [data.file, data.spooled, *data.more]}


@post("/required")
async def required(data: MultipartBody[Required]) -> str:
    """Say what came."""
    return data.title


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    """A client of the application."""
    limits = UploadLimits(max_parts=20, max_field_bytes=1000, max_fields_bytes=5000)
    plugin = FilestorePlugin(FilestoreConfig([MemoryBackend("documents")], ledger=None, limits=limits))
    with TestClient(Litestar([optional, required], plugins=[plugin])) as client:
        yield client
        assert (limits.slots.taken, limits.budget.free_bytes) == (0, limits.buffer_bytes)


def test_form_without_files_may_be_text(client: TestClient[Litestar]) -> None:
    """The texts arrive as in any other form, and there is no file."""
    answer = client.post("/optional", data={"title": "käse & brot", "tags": ["a", "b"]})
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"title": "käse & brot", "tags": ["a", "b"], "files": [None, None]}


def test_untouched_inputs_are_no_files(client: TestClient[Litestar]) -> None:
    """A page without ``enctype`` sends empty texts for them."""
    answer = client.post("/optional", content=b"title=a&file=&more=&more=&spooled=&tags=x", headers=TEXT)
    assert answer.json() == {"title": "a", "tags": ["x"], "files": [None, None]}


def test_name_of_a_file_is_no_file(client: TestClient[Litestar]) -> None:
    """A page without ``enctype`` sends the name alone; nobody is told that the file has arrived."""
    answer = client.post("/optional", content=b"title=a&file=holiday.png", headers=TEXT)
    assert (answer.status_code, [each["key"] for each in answer.json()["extra"]]) == (400, ["file"])


def test_form_with_a_required_file_has_to_be_multipart(client: TestClient[Litestar]) -> None:
    """Text alone can be no whole form there."""
    answer = client.post("/required", data={"title": "a"})
    assert (answer.status_code, answer.headers["accept"]) == (415, "multipart/form-data")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"title=%ff", 400),
        (b"title=\xff", 400),
        (b"title=" + b"x" * 1000, 201),
        (b"title=" + b"x" * 1001, 413),
        (b"title=" + b"%78" * 1000, 201),
        (b"title=a&" + b"tags=b&" * 18, 201),
        (b"title=a&" + b"tags=b&" * 19, 413),
        (b"&" * 5001, 413),
        (b"", 400),
        (b"file=", 400),
    ],
)
def test_limits_and_charset(client: TestClient[Litestar], content: bytes, status: int) -> None:
    """No other way of writing a form leads around the limits."""
    assert client.post("/optional", content=content, headers=TEXT).status_code == status


def test_document_shows_both_ways(client: TestClient[Litestar]) -> None:
    """As text, the form has no properties for files."""
    document = client.get("/schema/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    content = document["paths"]["/optional"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/x-www-form-urlencoded"}
    schema = content["application/x-www-form-urlencoded"]["schema"]
    assert (set(schema["properties"]) & {"title", "file", "more"}, schema["required"]) == ({"title"}, ["title"])
    assert set(document["paths"]["/required"]["post"]["requestBody"]["content"]) == {"multipart/form-data"}
