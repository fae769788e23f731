"""Forms that are written wrong: found when the application is built, or explained in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from litestar import Litestar, patch, post
from litestar.datastructures import UploadFile
from litestar.exceptions import ImproperlyConfiguredException
from litestar.params import JSONBody, MultipartBody
from litestar.testing import TestClient
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    FileField,
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    StoredObject,
)
from litestar_filestore.errors import BackendNotRegisteredError
from tests.uploads.conftest import Serve

multipart: Any = MultipartBody  # for forms that are values
json_body: Any = JSONBody

UPLOAD = {"file": ("a.txt", b"hello", "text/plain")}


class Base(DeclarativeBase):
    pass


class Memo(Base):
    __tablename__ = "mistaken_memo"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject("elsewhere"))


@dataclass
class Form:
    title: str
    file: FileObject


@dataclass
class Listed:
    files: list  # type: ignore[type-arg]  # the mistake


@dataclass
class Sequenced:
    files: Sequence | None  # type: ignore[type-arg]  # the mistake


@dataclass
class Named:
    files: dict[str, FileObject]


class Plain:
    title: str
    file: FileObject


def handler(form: Any) -> Any:
    """Return a handler that takes a form."""

    async def upload(data: Any) -> None: ...

    upload.__annotations__["data"] = form
    return post("/")(upload)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Listed, r"'files' in the form of .*upload is a list, and nobody knows of what: write list\[FileObject\]"),
        (list, r"'data' .* is a list, .* list\[UploadFile\] for Litestar's own, list\[str\] for texts"),
        (Sequenced, r"'files' .* is a Sequence, and nobody knows of what"),
        (Named, r"'files' .* is a mapping of files, .*: declare a field for each file, or .* list\[FileObject\]"),
        (dict[str, FileObject], "'data' .* is a mapping of files"),
        (Plain, "Plain, the form of .*upload, has a file 'file', but is no dataclass, .*: write @dataclass above it"),
        (Memo, r"Memo, the form of .*upload, has a file 'file', .* mapped class, use a DTO"),
    ],
)
def test_form_that_cannot_work_stops_the_application(form: Any, message: str) -> None:
    """Litestar would take the files itself, without any rule, or refuse each request."""
    config = FilestoreConfig([MemoryBackend("documents"), MemoryBackend("elsewhere")])
    with pytest.raises(ImproperlyConfiguredException, match=message):
        Litestar([handler(multipart[form])], plugins=[FilestorePlugin(config)])


@pytest.mark.parametrize("form", [list[str], list[UploadFile], dict[str, Any], dict[str, UploadFile], dict], ids=str)
def test_forms_of_litestar_are_left_alone(form: Any, serve: Serve) -> None:
    """A form that says what it holds, and no files of ours, is Litestar's."""
    assert serve(handler(multipart[form])).post("/", files=UPLOAD).status_code in {201, 400}


def test_body_that_is_a_tracked_list(serve: Serve) -> None:
    """``FileObjectList`` is a list of files in forms as well."""
    names: list[str] = []

    @post("/")
    async def upload(data: MultipartBody[FileObjectList]) -> None:
        names.extend(each.filename for each in data)

    assert serve(upload).post("/", files=UPLOAD).status_code == 201
    assert names == ["a.txt"]


@pytest.mark.filterwarnings("ignore:.*without a body marker")  # Litestar's own hint, which does not know of files
@pytest.mark.parametrize("body", [Form, FileObject, list[FileObject]], ids=["form", "file", "files"])
def test_forgotten_multipart_body_stops_the_application(body: Any) -> None:
    """An argument that says neither form nor JSON, and needs a file, is a mistake; Litestar would read JSON."""
    message = r"has the file '(file|data)', .*: write data: MultipartBody\[...\] for uploads, or data: JSONBody\[...\]"
    with pytest.raises(ImproperlyConfiguredException, match=message):
        Litestar([handler(body)], plugins=[FilestorePlugin(FilestoreConfig([MemoryBackend("documents")]))])


@pytest.mark.parametrize("body", [Form, FileObject, Form | None], ids=["form", "file", "nullable"])
def test_form_for_a_handler_that_reads_json(body: Any, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The answer to a form says how the handler would take it, and not that its JSON is malformed."""
    answer = serve(handler(json_body[body]), logging_config=None).post("/", data={"title": "A"}, files=UPLOAD)
    assert answer.status_code == 415
    assert "data: MultipartBody[...]" in answer.json()["detail"]
    assert "upload was sent a form, but reads JSON: to take uploads, declare data: MultipartBody[...]" in caplog.text


def test_json_for_a_handler_with_files_is_read_as_before(serve: Serve) -> None:
    """A reference in JSON is the other way in which a file arrives; hooks of the handler are called."""
    called: list[str] = []

    def hook(_: Any) -> None:
        called.append("hook")

    @patch("/", before_request=hook)
    async def change(data: JSONBody[Form]) -> None: ...

    answer = serve(change).patch("/", json={"title": "A", "file": "nonsense"})
    assert (answer.status_code, called) == (400, ["hook"])
    assert "the reference of one" in answer.text


@pytest.mark.parametrize(
    "field", [Annotated[FileObject, Memo.file], Annotated[FileObject, FileField("elsewhere")]], ids=["column", "field"]
)
def test_backend_of_a_form_that_is_not_configured_stops_the_start(field: Any, backend: MemoryBackend) -> None:
    """An application whose uploads cannot be stored anywhere does not start, and says which handler it is."""
    app = Litestar([handler(multipart[field])], plugins=[FilestorePlugin(FilestoreConfig([backend]))])
    message = (
        r"'file' of .*upload stores in a backend that is not configured: add it to FilestoreConfig.*, "
        "or correct the name .*Configured are: .*'uploads-together'.*backend='elsewhere'"
    )
    with (
        pytest.RaisesGroup(pytest.RaisesExc(BackendNotRegisteredError, match=message), flatten_subgroups=True),
        TestClient(app),
    ):
        pass
