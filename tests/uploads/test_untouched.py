"""File inputs that nobody touched, and files that are taken away on purpose, in forms that say only what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import SQLAlchemyDTO, SQLAlchemyDTOConfig
from litestar import Litestar, get, patch
from litestar.config.csrf import CSRFConfig
from litestar.dto import DataclassDTO, DTOConfig, DTOData
from litestar.params import MultipartBody
from litestar.plugins.pydantic import PydanticDTO
from litestar.testing import TestClient
from msgspec import UNSET, UnsetType
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    StoredObject,
)
from tests.uploads.cases import BOUNDARY, Part, encode

KEPT = "kept"
"""What the answer says of a field that the form does not mention."""


class Base(DeclarativeBase):
    pass


class Memo(Base):
    __tablename__ = "untouched_memo"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(StoredObject("documents"))
    pages: Mapped[FileObjectList] = mapped_column(StoredObject("documents", multiple=True))
    extras: Mapped[FileObjectList | None] = mapped_column(StoredObject("documents", multiple=True))


class MemoDTO(SQLAlchemyDTO[Memo]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


@dataclass
class MemoData:
    title: str
    file: FileObject | None
    pages: list[FileObject]
    extras: list[FileObject] | None


class MemoDataDTO(DataclassDTO[MemoData]):
    config = DTOConfig(partial=True)


class MemoModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    title: str
    file: FileObject | None
    pages: list[FileObject]
    extras: list[FileObject] | None


class MemoModelDTO(PydanticDTO[MemoModel]):
    config = DTOConfig(partial=True)


class MemoStruct(msgspec.Struct):
    title: str | UnsetType = UNSET
    file: FileObject | UnsetType | None = UNSET
    pages: list[FileObject] | UnsetType = UNSET
    extras: list[FileObject] | UnsetType | None = UNSET


class MemoDict(TypedDict, total=False):
    title: str
    file: FileObject | None
    pages: list[FileObject]
    extras: list[FileObject] | None


NOT_SENT = FileObject("documents", "not-sent")


@dataclass
class MemoDefaults:
    title: str
    file: FileObject | None = NOT_SENT
    pages: Annotated[list[FileObject], "any"] = msgspec.UNSET  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    extras: list[FileObject] | None = msgspec.UNSET  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def told(value: Any) -> Any:
    """Return the names of the files that a field came with."""
    if isinstance(value, list):
        return [each.filename for each in value]
    return KEPT if value is NOT_SENT or value is UNSET else value and value.filename


def told_of(values: Any) -> dict[str, Any]:
    """Return that for every field."""
    return {name: told(values.get(name, UNSET)) for name in ("file", "pages", "extras")}


@patch("/model", dto=MemoDTO, return_dto=None)
async def model(data: MultipartBody[DTOData[Memo]]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(data.as_builtins())


@patch("/data", dto=MemoDataDTO, return_dto=None)
async def data_dto(data: MultipartBody[DTOData[MemoData]]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(data.as_builtins())


@patch("/pydantic", dto=MemoModelDTO, return_dto=None)
async def pydantic_dto(data: MultipartBody[DTOData[MemoModel]]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(data.as_builtins())


@patch("/struct")
async def struct(data: MultipartBody[MemoStruct]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(msgspec.structs.asdict(data))


@patch("/dict")
async def typed_dict(data: MultipartBody[MemoDict]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(data)


@patch("/defaults")
async def defaults(data: MultipartBody[MemoDefaults]) -> dict[str, Any]:
    """Say which files came."""
    return told_of(vars(data))


@get("/", sync_to_thread=False)
def page() -> None:
    """Give the browser what CSRF protection needs."""


HANDLERS = [page, model, data_dto, pydantic_dto, struct, typed_dict, defaults]
PATHS = ["/model", "/data", "/pydantic", "/struct", "/dict", "/defaults"]
Send = Callable[..., Any]


@contextmanager
def sending(**options: Any) -> Iterator[Send]:
    """Run the application, and give a client of it that sends parts beside a title."""
    plugin = FilestorePlugin(FilestoreConfig([MemoryBackend("documents")], ledger=None))
    with TestClient(Litestar(HANDLERS, plugins=[plugin], openapi_config=None, **options)) as client:

        def send(path: str, *parts: Part) -> Any:
            headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
            token = [Part("_csrf_token", client.cookies["csrftoken"].encode())] if client.cookies else []
            answer = client.patch(path, content=encode([Part("title", b"t"), *token, *parts]), headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

        client.get("/")
        yield send


@pytest.fixture(params=["streamed", "read by a middleware"])
def send(request: pytest.FixtureRequest) -> Iterator[Send]:
    """A client of the application; once where Litestar itself has read the form, to find a token in it."""
    csrf = None if request.param == "streamed" else CSRFConfig(secret="s" * 20)
    with sending(csrf_config=csrf) as send:
        yield send


def untouched(name: str) -> Part:
    """Return what a browser sends for an input without a file."""
    return Part(name, b"", "", "application/octet-stream")


ALL_KEPT = {"file": KEPT, "pages": KEPT, "extras": KEPT}


@pytest.mark.parametrize("path", PATHS)
def test_untouched_input_changes_nothing(send: Send, path: str) -> None:
    """A form that is sent as the page showed it leaves every file where it is."""
    assert send(path, *map(untouched, ALL_KEPT)) == ALL_KEPT


@pytest.mark.parametrize("path", PATHS)
def test_several_untouched_inputs_change_nothing(send: Send, path: str) -> None:
    """A page may have several inputs for one list."""
    assert send(path, *map(untouched, [*ALL_KEPT, "pages", "extras", "file"])) == ALL_KEPT


@pytest.mark.parametrize("path", PATHS)
def test_empty_text_changes_nothing(send: Send, path: str) -> None:
    """A script that appends ``file ?? ""`` has no file, and does not want one taken away."""
    assert send(path, *(Part(name, b"") for name in ALL_KEPT)) == ALL_KEPT


@pytest.mark.parametrize("path", PATHS)
def test_remove_takes_files_away(send: Send, path: str) -> None:
    """A checkbox with the value ``remove`` beside the untouched input says that there is to be no file."""
    parts = [part for name in ALL_KEPT for part in (untouched(name), Part(name, b"remove"))]
    assert send(path, *parts) == {"file": None, "pages": [], "extras": None}


@pytest.mark.parametrize("path", PATHS)
def test_new_file_wins(send: Send, path: str) -> None:
    """Who ticks the checkbox and chooses a file wants the new one, and the untouched input of a list is no file."""
    parts = [part for name in ALL_KEPT for part in (Part(name, b"x", f"{name}.txt"), Part(name, b"remove"))]
    found = send(path, *parts, untouched("pages"))
    assert found == {"file": "file.txt", "pages": ["pages.txt"], "extras": ["extras.txt"]}
