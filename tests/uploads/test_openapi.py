"""What the OpenAPI document says about upload forms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from litestar import Litestar, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, MultipartBody
from openapi_spec_validator import validate

from litestar_filestore import (
    ContentTypes,
    FileField,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MaxFiles,
    MaxSize,
    MemoryBackend,
    MinSize,
    UploadLimits,
)
from tests.uploads.shapes import MAX_BYTES, create_app

SHAPES = {
    "/dataclass": ("file", "more", "thumb"),
    "/struct": ("FILE", "MORE", "THUMB"),
    "/typed-dict": ("file", "more", "thumb"),
    "/attrs": ("file", "more", "thumb"),
    "/pydantic": ("theFile", "more", "thumb"),
    "/mixed": ("file", "more", "thumb"),
    "/column": ("file", "more", "thumb"),
    "/optional": ("file", "more", "thumb"),
    "/body": ("file", "more", "thumb"),
    "/model": ("document", "more", "thumb"),
    "/partial": ("FILE", "MORE", "THUMB"),
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of the application with every shape."""
    found: dict[str, Any] = create_app(tmp_path_factory.mktemp("shapes")).openapi_schema.to_schema()
    return found


def body_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the request body of a POST."""
    body: dict[str, Any] = document["paths"][path]["post"]["requestBody"]
    return body


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of the form that a POST takes, without references."""
    schema: dict[str, Any] = body_of(document, path)["content"]["multipart/form-data"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def multipart(body: Any) -> Any:
    """Return the annotation of a multipart body, for classes that are made in a test."""
    return Annotated[body, BodyKwarg(media_type=RequestEncodingType.MULTI_PART)]


def document_of(*handlers: Any, **options: Any) -> dict[str, Any]:
    """Return the document of an application with these handlers and one backend."""
    plugin = FilestorePlugin(FilestoreConfig([MemoryBackend("documents")], **options))
    found: dict[str, Any] = Litestar(list(handlers), plugins=[plugin]).openapi_schema.to_schema()
    return found


def test_document_is_valid(document: dict[str, Any]) -> None:
    """The document passes the validator of the specification's schema."""
    validate(document)


@pytest.mark.parametrize("path", SHAPES)
def test_files_are_binary_parts(path: str, document: dict[str, Any]) -> None:
    """Each shape shows its files under the names that clients send, with the limit of their rules."""
    properties = schema_of(document, path)["properties"]
    one, many, thumb = (properties[name] for name in SHAPES[path])
    part = {
        "type": "string",
        "format": "binary",
        "contentMediaType": "text/plain",
        "maxLength": MAX_BYTES,
    }
    many = {key: value for key, value in many.items() if key != "description"}
    assert (one, many, thumb) == (part, {"type": "array", "maxItems": 10, "items": part}, part)


@pytest.mark.parametrize("path", SHAPES)
def test_files_have_no_other_name(path: str, document: dict[str, Any]) -> None:
    """A field with a name of its own on the wire is not shown under that of its attribute as well."""
    others = {"title", "TITLE", "spooled"}
    assert set(schema_of(document, path)["properties"]) - others == set(SHAPES[path])


@pytest.mark.parametrize("path", SHAPES)
def test_types_of_parts_are_told(path: str, document: dict[str, Any]) -> None:
    """The encoding of each file's part names the types that are allowed."""
    encoding = body_of(document, path)["content"]["multipart/form-data"]["encoding"]
    assert {name: each["contentType"] for name, each in encoding.items()} == dict.fromkeys(SHAPES[path], "text/plain")


@pytest.mark.parametrize("path", SHAPES)
def test_required_files_are_required(path: str, document: dict[str, Any]) -> None:
    """A file without a default is required, the others are not; a partial form requires none."""
    expected = {SHAPES[path][0]} if path != "/partial" else set()
    assert set(schema_of(document, path).get("required", ())) & set(SHAPES[path]) == expected


@pytest.mark.parametrize(("path", "expected"), [("/optional", False), ("/dataclass", True)])
def test_body_is_required_unless_it_may_be_none(path: str, *, expected: bool, document: dict[str, Any]) -> None:
    """A handler whose form may be ``None`` can be called without a body."""
    assert body_of(document, path)["required"] is expected


@pytest.mark.parametrize("status", ["400", "408", "413", "415", "503"])
@pytest.mark.parametrize("path", [*SHAPES, "/bare", "/bare-list"])
def test_refusals_are_told(path: str, status: str, document: dict[str, Any]) -> None:
    """Each handler says how it refuses a form."""
    assert status in document["paths"][path]["post"]["responses"]


@pytest.mark.parametrize(("path", "name", "type_"), [("/bare", "file", "string"), ("/bare-list", "files", "array")])
def test_body_that_is_a_file_has_one_part(path: str, name: str, type_: str, document: dict[str, Any]) -> None:
    """A body without a form around is shown as a form with one field."""
    schema = schema_of(document, path)
    assert (list(schema["properties"]), schema["required"]) == ([name], [name])
    assert schema["properties"][name]["type"] == type_


def test_litestars_own_files_stay(document: dict[str, Any]) -> None:
    """A field that is Litestar's `UploadFile` is shown as Litestar shows it."""
    spooled = schema_of(document, "/mixed")["properties"]["spooled"]
    assert spooled["oneOf"][0] == {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
    }


@dataclass
class Form:
    file: FileObject


@post("/forms", sync_to_thread=False)
def take(data: MultipartBody[Form]) -> None:
    """Take files."""


@get("/forms", sync_to_thread=False)
def give() -> Form:
    """Return files."""
    return Form(FileObject("documents", "a.txt"))


@pytest.mark.parametrize("handlers", [(take, give), (give, take)], ids=["form first", "response first"])
def test_class_of_form_and_response_looks_different(handlers: tuple[Any, ...]) -> None:
    """A class that stands in a form and in a response has binary parts in the one and files' facts in the other."""
    found = document_of(*handlers)
    answer = found["paths"]["/forms"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    shown = found["components"]["schemas"][answer.rpartition("/")[2]]["properties"]["file"]
    assert schema_of(found, "/forms")["properties"]["file"]["format"] == "binary"
    assert shown == {"$ref": "#/components/schemas/FileObject"}


def make_form() -> type:
    """Return another class of the same name as `Form`."""

    @dataclass
    class Form:
        picture: FileObject

    return Form


def test_forms_of_one_name_are_told_apart() -> None:
    """Two classes of one name are two components."""
    other = make_form()

    def take_other(data: Any) -> None: ...

    take_other.__annotations__ = {"data": multipart(other), "return": None}
    found = document_of(take, post("/others", sync_to_thread=False)(take_other))
    names = [list(schema_of(found, path)["properties"]) for path in ("/forms", "/others")]
    assert names == [["file"], ["picture"]]


@post("/rules", sync_to_thread=False)
def with_rules(
    data: MultipartBody[Annotated[list[FileObject], MinSize(1), MaxSize("1 kB"), MaxFiles(3), ContentTypes("image/*")]],
) -> None:
    """Take files with rules."""


@dataclass
class Sizes:
    small: FileObject
    large: Annotated[FileObject, MaxSize(5000)]


@post("/sizes", sync_to_thread=False)
def with_and_without_rule(data: MultipartBody[Sizes]) -> None:
    """Take a file without a rule for its size, and one with a rule."""


def test_rules_are_told() -> None:
    """Least and greatest size, number of files and types come from the rules."""
    found = document_of(with_rules)
    schema = schema_of(found, "/rules")["properties"]["files"]
    part = {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "maxLength": 1000,
        "minLength": 1,
    }
    assert {**schema, "description": None} == {
        "type": "array",
        "description": None,
        "minItems": 1,
        "maxItems": 3,
        "items": part,
    }
    encoding = body_of(found, "/rules")["content"]["multipart/form-data"]["encoding"]
    assert encoding["files"]["contentType"] == "image/*"


def test_limit_of_the_application_is_told() -> None:
    """Where no rule says how long a file may be, the limit of the configuration does; a rule may allow more."""
    document = document_of(with_and_without_rule, limits=UploadLimits(max_file_bytes=100))
    properties = schema_of(document, "/sizes")["properties"]
    assert {name: each["maxLength"] for name, each in properties.items()} == {"small": 100, "large": 5000}


@post(["/first", "/second"], sync_to_thread=False)
def on_two_paths(data: MultipartBody[Annotated[FileObject, FileField(rules=[MaxSize(5)])]]) -> None:
    """Take a file on either path."""


def test_handler_with_two_paths_is_shown_on_both() -> None:
    """A handler that answers on two paths has the same form on both."""
    found = document_of(on_two_paths)
    assert schema_of(found, "/first") == schema_of(found, "/second")


def test_document_of_an_application_without_uploads_is_left_alone(tmp_path: Path) -> None:
    """A handler that takes no files keeps Litestar's component."""

    @dataclass
    class Plain:
        title: str

    def take_plain(data: Any) -> None: ...

    take_plain.__annotations__ = {"data": multipart(Plain), "return": None}
    found = document_of(post("/plain", sync_to_thread=False)(take_plain))
    assert "encoding" not in body_of(found, "/plain")["content"]["multipart/form-data"]
    assert "413" not in found["paths"]["/plain"]["post"]["responses"]
