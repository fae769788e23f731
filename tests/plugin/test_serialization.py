"""A file in whatever a handler returns looks the same to the client, and tells nothing about where it is stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemySerializationPlugin
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.dto import DataclassDTO, MsgspecDTO
from litestar.handlers import HTTPRouteHandler
from litestar.pagination import OffsetPagination
from litestar.plugins.pydantic import PydanticDTO
from openapi_spec_validator import validate
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject
from tests.plugin.conftest import PRIVATE, Serve

File = NamedDependency[FileObject]


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "row"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))
    more: Mapped[list[FileObject]] = mapped_column(StoredObject("documents", multiple=True))
    none: Mapped[FileObject | None] = mapped_column(StoredObject("documents"))


@dataclass
class Data:
    file: FileObject
    none: FileObject | None = None


class Struct(msgspec.Struct):
    file: FileObject
    more: list[FileObject]


class TrackedStruct(msgspec.Struct):
    more: FileObjectList
    alias: MutableList[FileObject]


@attrs.define
class Attrs:
    file: FileObject


class Pydantic(pydantic.BaseModel):
    file: FileObject
    none: FileObject | None = None


def row(file: FileObject) -> Row:
    """Return a row as a session would, with all of its columns."""
    return Row(id=uuid4(), file=file, more=[file, file], none=None)


class Shapes(Controller):
    @get("/bare")
    async def bare(self, file: File) -> FileObject:
        return file

    @get("/optional")
    async def optional(self, file: File) -> FileObject | None:
        return file

    @get("/list")
    async def several(self, file: File) -> list[FileObject]:
        return [file, file]

    @get("/tracked-list")
    async def tracked(self, file: File) -> FileObjectList:
        return FileObjectList([file, file])

    @get("/dict")
    async def mapping(self, file: File) -> dict[str, FileObject]:
        return {"file": file}

    @get("/dataclass")
    async def data(self, file: File) -> Data:
        return Data(file)

    @get("/struct")
    async def struct(self, file: File) -> Struct:
        return Struct(file, [file])

    @get("/tracked-struct")
    async def tracked_struct(self, file: File) -> TrackedStruct:
        return TrackedStruct(FileObjectList([file]), MutableList([file]))

    @get("/attrs")
    async def attrs_class(self, file: File) -> Attrs:
        return Attrs(file)

    @get("/pydantic")
    async def pydantic_model(self, file: File) -> Pydantic:
        return Pydantic(file=file)

    @get("/model")
    async def model(self, file: File) -> Row:
        return row(file)

    @get("/models")
    async def models(self, file: File) -> list[Row]:
        return [row(file)]

    @get("/page")
    async def page(self, file: File) -> OffsetPagination[Row]:
        return OffsetPagination([row(file)], limit=10, offset=0, total=1)

    @get("/response")
    async def response(self, file: File) -> Response[Row]:
        return Response(row(file))

    @get("/model-dto", return_dto=SQLAlchemyDTO[Row])
    async def model_dto(self, file: File) -> Row:
        return row(file)

    @get("/dataclass-dto", return_dto=DataclassDTO[Data])
    async def data_dto(self, file: File) -> Data:
        return Data(file)

    @get("/struct-dto", return_dto=MsgspecDTO[Struct])
    async def struct_dto(self, file: File) -> Struct:
        return Struct(file, [file])

    @get("/pydantic-dto", return_dto=PydanticDTO[Pydantic])
    async def pydantic_dto(self, file: File) -> Pydantic:
        return Pydantic(file=file)

    @get("/nothing")
    async def nothing(self) -> FileObject | None:
        return None


PATHS = sorted(
    path for each in vars(Shapes).values() if isinstance(each, HTTPRouteHandler) for path in each.paths - {"/nothing"}
)
LISTS = {"/model", "/models", "/page", "/response", "/model-dto"}
COUNTS = {"/list": 2, "/tracked-list": 2, "/struct": 2, "/tracked-struct": 2, "/struct-dto": 2} | dict.fromkeys(
    ("/model", "/models", "/page", "/response", "/model-dto"), 3
)


def options(file: FileObject) -> dict[str, Any]:
    """Return what the application needs besides the plugin: models, and the file as a dependency."""
    return {
        "plugins": [SQLAlchemySerializationPlugin()],
        "dependencies": {"file": Provide(lambda: file, sync_to_thread=False)},
    }


def files_in(value: Any) -> Iterator[Any]:
    """Yield whatever has a `filename`, at any depth."""
    if isinstance(value, dict) and "filename" in value:
        yield value
    else:
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from files_in(each)


@pytest.mark.parametrize("path", PATHS)
def test_get_returns_the_public_form(path: str, file: FileObject, serve: Serve) -> None:
    """Every shape that holds files shows each of them with the same five members; files of lists have an id too."""
    found = list(files_in(serve([Shapes], **options(file)).get(path).json()))
    public = {"filename": "résumé.pdf", "content_type": "application/pdf", "size": 8, "etag": file.etag, "url": None}
    assert [{name: each[name] for name in each if name != "id"} for each in found] == [public] * COUNTS.get(path, 1)
    assert any("id" in each for each in found) == (path in LISTS)


@pytest.mark.parametrize("path", PATHS)
def test_get_tells_nothing_about_the_storage(path: str, file: FileObject, serve: Serve) -> None:
    """No shape shows key, backend, checksum or metadata."""
    text = serve([Shapes], **options(file)).get(path).text
    assert [word for word in (file.path, "documents", file.checksum, PRIVATE) if word and word in text] == []


def test_get_returns_null_for_no_file(file: FileObject, serve: Serve) -> None:
    """A handler that returns no file answers with JSON's null."""
    assert serve([Shapes], **options(file)).get("/nothing").json() is None


def test_pydantic_dump_returns_the_public_form(file: FileObject) -> None:
    """`model_dump_json`, which no encoder of Litestar sees, shows no more than a response."""
    dumped = msgspec.json.decode(Pydantic(file=file).model_dump_json())
    assert set(dumped["file"]) == {"filename", "content_type", "size", "etag", "url"}


def test_encoder_of_the_application_wins(file: FileObject, serve: Serve) -> None:
    """An application that encodes files itself is not overruled."""
    client = serve([Shapes], type_encoders={FileObject: lambda each: each.filename}, **options(file))
    assert client.get("/bare").json() == "résumé.pdf"


def document(file: FileObject, serve: Serve) -> dict[str, Any]:
    """Return the OpenAPI document of an application with every shape."""
    schema: dict[str, Any] = serve([Shapes], **options(file)).app.openapi_schema.to_schema()
    return schema


def test_openapi_document_is_valid(file: FileObject, serve: Serve) -> None:
    """The document passes the validator of the specification's schema."""
    validate(document(file, serve))


def references_in(value: Any, components: dict[str, Any], seen: set[str]) -> set[str]:
    """Follow the references in a schema and return the names of all components met."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(each, str) and each.startswith("#/components/schemas/"):
            name = each.rpartition("/")[2]
            if name not in seen:
                seen.add(name)
                references_in(components[name], components, seen)
        else:
            references_in(each, components, seen)
    return seen


@pytest.mark.parametrize("path", PATHS)
def test_openapi_shows_files_in_every_shape(path: str, file: FileObject, serve: Serve) -> None:
    """Every shape leads to the component that describes a file."""
    found = document(file, serve)
    answer = found["paths"][path]["get"]["responses"]["200"]["content"]
    assert "FileObject" in references_in(answer, found["components"]["schemas"], set())


def test_openapi_describes_what_is_sent(file: FileObject, serve: Serve) -> None:
    """The component lists exactly the members of a response, all of them required but the id of a file in a list."""
    client = serve([Shapes], **options(file))
    schema = client.app.openapi_schema.to_schema()["components"]["schemas"]["FileObject"]
    sent = client.get("/bare").json()
    assert (sorted(schema["properties"]), sorted(schema["required"])) == (sorted([*sent, "id"]), sorted(sent))


def test_openapi_allows_null_where_a_member_may_be_unknown(file: FileObject, serve: Serve) -> None:
    """Size, etag and url may be null in the document, name and type may not."""
    members = document(file, serve)["components"]["schemas"]["FileObject"]["properties"]
    assert {name for name, schema in members.items() if {"type": "null"} in schema.get("oneOf", ())} == {
        "size",
        "etag",
        "url",
    }
