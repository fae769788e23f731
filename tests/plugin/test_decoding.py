"""What a client writes never becomes a file, whatever class the handler wants the body in."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemyDTOConfig, SQLAlchemySerializationPlugin
from litestar import Controller, post
from litestar.dto import DataclassDTO, MsgspecDTO
from litestar.params import JSONBody
from litestar.plugins.pydantic import PydanticDTO
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, LocalBackend, StoredObject
from litestar_filestore.orm.stored_object import TrackedFiles
from tests.plugin.conftest import Serve


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "row"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))


class RowDTO(SQLAlchemyDTO[Row]):
    config = SQLAlchemyDTOConfig(exclude={"id"})


class PartialRowDTO(SQLAlchemyDTO[Row]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


@dataclass
class Data:
    file: FileObject


class Struct(msgspec.Struct):
    file: FileObject


class Several(msgspec.Struct):
    file: list[FileObject]


class Tracked(msgspec.Struct):
    file: TrackedFiles


class Optional(msgspec.Struct):
    file: FileObject | None = None


@attrs.define
class Attrs:
    file: FileObject


class Pydantic(pydantic.BaseModel):
    file: FileObject


class Bodies(Controller):
    """One path for each class that a body may have; a body that is accepted is answered with its file's name."""

    @post("/dataclass")
    async def data(self, data: JSONBody[Data]) -> str:
        return data.file.filename

    @post("/struct")
    async def struct(self, data: JSONBody[Struct]) -> str:
        return data.file.filename

    @post("/list")
    async def several(self, data: JSONBody[Several]) -> str:
        return str(len(data.file))

    @post("/tracked-list")
    async def tracked(self, data: JSONBody[Tracked]) -> str:
        return str(len(data.file))

    @post("/optional")
    async def optional(self, data: JSONBody[Optional]) -> str:
        return str(data.file)

    @post("/attrs")
    async def attrs_class(self, data: JSONBody[Attrs]) -> str:
        return data.file.filename

    @post("/pydantic")
    async def pydantic_model(self, data: JSONBody[Pydantic]) -> str:
        return data.file.filename

    @post("/bare")
    async def bare(self, data: JSONBody[FileObject]) -> str:
        return data.filename

    @post("/model-dto", dto=RowDTO, return_dto=None)
    async def model(self, data: JSONBody[Row]) -> str:
        return data.file.filename

    @post("/partial-dto", dto=PartialRowDTO, return_dto=None)
    async def partial(self, data: JSONBody[Row]) -> str:
        return data.file.filename

    @post("/dataclass-dto", dto=DataclassDTO[Data], return_dto=None)
    async def data_dto(self, data: JSONBody[Data]) -> str:
        return data.file.filename

    @post("/struct-dto", dto=MsgspecDTO[Struct], return_dto=None)
    async def struct_dto(self, data: JSONBody[Struct]) -> str:
        return data.file.filename

    @post("/pydantic-dto", dto=PydanticDTO[Pydantic], return_dto=None)
    async def pydantic_dto(self, data: JSONBody[Pydantic]) -> str:
        return data.file.filename


PATHS = [
    "/dataclass",
    "/struct",
    "/optional",
    "/attrs",
    "/pydantic",
    "/model-dto",
    "/partial-dto",
    "/dataclass-dto",
    "/struct-dto",
    "/pydantic-dto",
]


@pytest.fixture
def existing(backend: LocalBackend) -> str:
    """The key of a stored file, which a client has found out somehow."""
    return backend.put(b"somebody else's", key="secret").key


def answer(serve: Serve, path: str, body: Any) -> tuple[int, str]:
    """Return the status and the first validation message of a POST."""
    response = serve([Bodies], plugins=[SQLAlchemySerializationPlugin()]).post(path, json=body)
    extra = response.json().get("extra") or [{}]
    return response.status_code, extra[0].get("message", response.json()["detail"])


@pytest.mark.parametrize("path", PATHS)
def test_post_of_a_mapping_is_refused(path: str, existing: str, serve: Serve) -> None:
    """A mapping that names a stored object is not taken for a file: it would give other people's files away."""
    status, message = answer(serve, path, {"file": {"backend": "documents", "filename": "x", "to_filename": existing}})
    assert (status, "an uploaded file" in message) == (400, True)


@pytest.mark.parametrize("path", PATHS)
def test_post_of_a_string_is_refused(path: str, existing: str, serve: Serve) -> None:
    """Nor is a key."""
    status, message = answer(serve, path, {"file": existing})
    assert (status, "an uploaded file" in message) == (400, True)


@pytest.mark.parametrize("path", PATHS)
def test_post_of_the_public_form_is_refused(path: str, serve: Serve) -> None:
    """What a GET has shown cannot be sent back as a file."""
    public = {"filename": "x", "content_type": "text/plain", "size": 1, "etag": None, "url": None}
    status, message = answer(serve, path, {"file": public})
    assert (status, "an uploaded file" in message) == (400, True)


@pytest.mark.parametrize("path", ["/list", "/tracked-list"])
@pytest.mark.parametrize("value", [[{"filename": "x"}], ["x"]], ids=["mapping", "string"])
def test_post_of_a_list_is_refused(path: str, value: list[Any], serve: Serve) -> None:
    """What is refused alone is refused in a list."""
    status, message = answer(serve, path, {"file": value})
    assert (status, "expected an uploaded file" in message) == (400, True)


def test_post_of_something_else_for_a_tracked_list_is_refused(serve: Serve) -> None:
    """A tracked list is a list."""
    status, message = answer(serve, "/tracked-list", {"file": "x"})
    assert (status, "expected a list of uploaded files" in message) == (400, True)


@pytest.mark.parametrize("body", [{"backend": "documents", "filename": "secret"}, "secret", 1, None])
def test_post_of_a_bare_file_is_refused(body: Any, existing: str, serve: Serve) -> None:
    """A handler whose whole body is a file takes none from JSON."""
    status, _message = answer(serve, "/bare", body)
    assert status == 400


def test_post_of_null_for_an_optional_file_is_accepted(serve: Serve) -> None:
    """Null says that there is no file."""
    response = serve([Bodies], plugins=[SQLAlchemySerializationPlugin()]).post("/optional", json={"file": None})
    assert (response.status_code, response.text) == (201, "None")


def test_decoder_of_the_application_wins(serve: Serve) -> None:
    """An application that has its own idea of a file in JSON is not overruled."""

    def decode(type_: Any, value: Any) -> FileObject:
        return FileObject("documents", filename=value)

    decoders = [(lambda type_: type_ is FileObject, decode)]
    client = serve([Bodies], plugins=[SQLAlchemySerializationPlugin()], type_decoders=decoders)
    assert client.post("/struct", json={"file": "mine"}).text == "mine"
