"""A difference from Advanced Alchemy on purpose: no JSON of a client can build a FileObject."""

from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from advanced_alchemy.types import FileObject as TheirFile
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import FileObject, FileObjectList, StoredObject


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("public"))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject("public", multiple=True))


class Form(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    file: FileObject


class TheirForm(pydantic.BaseModel):
    file: TheirFile


class Struct(msgspec.Struct):
    file: FileObject


CLIENT_JSON = {"filename": "payroll.csv", "backend": "private"}


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(Form.model_validate, id="pydantic"),
        pytest.param(lambda data: Form.model_validate_json(msgspec.json.encode(data)), id="pydantic from JSON"),
        pytest.param(lambda data: msgspec.convert(data, Struct), id="msgspec"),
        pytest.param(lambda data: msgspec.json.decode(msgspec.json.encode(data), type=Struct), id="msgspec from JSON"),
    ],
)
@pytest.mark.parametrize("value", [CLIENT_JSON, "payroll.csv", None, []], ids=["mapping", "text", "null", "list"])
def test_client_json_can_build_a_fileobject(convert: Callable[[Any], Any], value: Any) -> None:
    """No: nothing that a client can write becomes a file."""
    with pytest.raises((pydantic.ValidationError, msgspec.ValidationError)):
        convert({"file": value})


@pytest.mark.parametrize("keyword", ["file", "pages"])
def test_client_json_can_build_a_fileobject_in_a_column(keyword: str) -> None:
    """No: a mapping that is handed on to a model is refused, when it is assigned or when it is written."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)

    def write() -> None:
        with Session(engine) as session:
            session.add(Document(**{keyword: [CLIENT_JSON] if keyword == "pages" else CLIENT_JSON}))
            session.commit()

    with pytest.raises((TypeError, StatementError)):
        write()
    engine.dispose()


def test_client_json_can_build_a_fileobject_there() -> None:
    """Yes: a client names the file and the backend."""
    file = TheirForm.model_validate({"file": CLIENT_JSON}).file
    assert file.path == "payroll.csv"
