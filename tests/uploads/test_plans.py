"""What is read out of a handler's annotations, and what is an error when the application starts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, NewType, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from litestar import Litestar, post
from litestar.datastructures import UploadFile
from litestar.dto import DataclassDTO, DTOConfig, dto_field
from litestar.enums import RequestEncodingType
from litestar.exceptions import ImproperlyConfiguredException
from litestar.params import BodyKwarg, JSONBody
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    ContentTypes,
    FileField,
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MaxSize,
    MemoryBackend,
    StorageBackend,
    StoredObject,
)
from litestar_filestore.orm.stored_object import TrackedFiles
from litestar_filestore.uploads.plan import PlannedFile, UploadForm

if TYPE_CHECKING:
    from litestar_filestore import ObstoreBackend

T = TypeVar("T")

Picture = NewType("Picture", FileObject)


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "planned_document"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(
        StoredObject("archive", key="documents/{random}{ext}", rules=[MaxSize(10), ContentTypes("text/plain")])
    )


def plans_of(*bodies: Any, backends: tuple[StorageBackend, ...] = (), **options: Any) -> Iterator[UploadForm | None]:
    """Yield the plan of a handler for each body, ``None`` where there is none."""
    handlers = []
    for number, body in enumerate(bodies):

        def take(data: Any) -> None: ...

        take.__annotations__ = {"data": body, "return": None}
        handlers.append(post(f"/{number}", sync_to_thread=False, **options)(take))
    plugin = FilestorePlugin(FilestoreConfig(backends or [MemoryBackend("documents")]))
    app = Litestar(handlers, plugins=[plugin], openapi_config=None)
    for number in range(len(bodies)):
        routes: dict[str, Any] = {each.path: each for each in app.routes}
        yield routes[f"/{number}"].route_handlers[0].opt.get("filestore_upload")


def multipart(body: Any) -> Any:
    """Return the annotation of a multipart body, for classes that are made in a test."""
    return Annotated[body, BodyKwarg(media_type=RequestEncodingType.MULTI_PART)]


def plan_of(body: Any, **options: Any) -> UploadForm:
    """Return the plan of a handler whose body is a multipart form."""
    (plan,) = plans_of(multipart(body), **options)
    assert plan is not None
    return plan


def file_of(annotation: Any, **options: Any) -> PlannedFile:
    """Return what is planned for a field of a form."""
    form = msgspec.defstruct("Form", [("file", annotation)])
    return plan_of(form, **options).by_name["file"]


@pytest.mark.parametrize(
    ("annotation", "many"),
    [
        (FileObject, False),
        (FileObject | None, False),
        (Annotated[FileObject, "anything"], False),
        (Picture, False),
        (list[FileObject], True),
        (list[Annotated[FileObject, MaxSize(3)]] | None, True),
        (tuple[FileObject, ...], True),
        (set[FileObject], True),
        (FileObjectList, True),
        (TrackedFiles, True),
    ],
)
def test_annotations_of_files_are_understood(annotation: Any, *, many: bool) -> None:
    """A field takes one file or several, however its type is written."""
    assert file_of(annotation).many is many


@pytest.mark.parametrize("annotation", [str, UploadFile, list[UploadFile], dict[str, int], Any, Document])
def test_other_annotations_are_no_files(annotation: Any) -> None:
    """A form without files is Litestar's business alone."""
    form = msgspec.defstruct("Form", [("field", annotation)])
    assert list(plans_of(multipart(form))) == [None]


def test_body_that_is_no_multipart_form_is_left_alone() -> None:
    """Files in JSON are no uploads."""
    assert list(plans_of(JSONBody[FileObject], JSONBody[list[FileObject]])) == [None, None]


def test_renamed_field_of_a_struct_is_planned_by_its_name_on_the_wire() -> None:
    """The parts are called what msgspec calls the field."""
    form = msgspec.defstruct("Form", [("main_file", FileObject)], rename="camel")
    assert set(plan_of(form).by_name) == {"mainFile"}


class AliasForm(pydantic.BaseModel):
    one: FileObject = pydantic.Field(alias="first")
    two: FileObject = pydantic.Field(validation_alias=pydantic.AliasChoices("second", "zweite"))


class NamedAliasForm(AliasForm):
    model_config = pydantic.ConfigDict(populate_by_name=True)


@pytest.mark.parametrize(
    ("form", "names"),
    [(AliasForm, {"first", "second", "zweite"}), (NamedAliasForm, {"first", "one", "second", "zweite", "two"})],
)
def test_aliases_of_a_pydantic_model_are_planned(form: type, names: set[str]) -> None:
    """Every name that pydantic accepts is one that a part may have."""
    assert set(plan_of(form).by_name) == names


@attrs.define
class PrivateForm:
    _file: FileObject


def test_private_attribute_of_an_attrs_class_is_planned_by_its_own_name() -> None:
    """Litestar reads attrs classes by attribute, not by the argument of their constructor."""
    assert set(plan_of(PrivateForm).by_name) == {"_file"}


@dataclass
class GenericForm(Generic[T]):
    value: T


def test_type_argument_of_a_generic_form_is_understood() -> None:
    """A generic form has the files of its arguments."""
    assert set(plan_of(GenericForm[FileObject]).by_name) == {"value"}


@dataclass
class Inherited(GenericForm[int]):
    file: FileObject


def test_fields_that_are_litestars_own_files_are_known() -> None:
    """`UploadFile` fields beside ours are spooled as Litestar does it."""
    form = msgspec.defstruct("Form", [("file", FileObject), ("spooled", UploadFile | None), ("more", list[UploadFile])])
    assert plan_of(form).spooled == {"spooled", "more"}


@pytest.mark.parametrize("annotation", [FileObject, list[FileObject], FileObject | None, list[FileObject] | None])
def test_body_that_is_a_file_takes_any_name(annotation: Any) -> None:
    """A body without a form around takes files whatever their parts are called."""
    form = plan_of(annotation)
    assert form.planned("anything") is form.files[0]


# -- where files go, and what they have to be


def test_file_goes_to_the_only_backend() -> None:
    """Where there is one backend, nobody has to name it."""
    assert file_of(FileObject).backend == "documents"


def test_file_goes_to_the_backend_of_its_field() -> None:
    """A field may name a backend."""
    both = (MemoryBackend("documents"), MemoryBackend("other"))
    assert file_of(Annotated[FileObject, FileField(backend="other")], backends=both).backend == "other"


def test_file_without_a_backend_among_several_is_an_error() -> None:
    """An application that has two backends and does not say which one is meant does not start."""
    both = (MemoryBackend("documents"), MemoryBackend("other"))
    with pytest.raises(ImproperlyConfiguredException, match=r"'file'.*documents, other.*FileField\(backend="):
        file_of(FileObject, backends=both)


def test_file_is_as_the_column_says() -> None:
    """A field that names a column takes its backend, rules and key template, and knows its class."""
    planned = file_of(Annotated[FileObject, Document.file])
    assert planned == PlannedFile(
        name="file",
        many=False,
        required=True,
        backend="archive",
        rules=(MaxSize(10), ContentTypes("text/plain")),
        key_template="documents/{random}{ext}",
        model=Document,
    )


def test_key_is_made_as_the_column_makes_it() -> None:
    """A column that makes the key of each file does so for uploads, and a field's own template comes first."""
    column = StoredObject("archive", key=lambda file: f"by-name/{file.filename[0]}/{{random}}{{ext}}")
    file = FileObject("archive", "a.txt")
    made = file_of(Annotated[FileObject, column]).key_template
    own = file_of(Annotated[FileObject, column, FileField(key_template="own/{random}")]).key_template
    assert callable(made)
    assert (made(file), own) == ("by-name/a/{random}{ext}", "own/{random}")


def test_file_is_as_a_type_of_columns_says() -> None:
    """The type of a column will do as well, for a model that is not known here."""
    planned = file_of(Annotated[FileObject, StoredObject("archive", rules=[MaxSize(10)])])
    assert (planned.backend, planned.rules, planned.model) == ("archive", (MaxSize(10),), None)


def test_field_has_the_last_word() -> None:
    """What a field says itself stands in for the same of its column."""
    planned = file_of(Annotated[FileObject, Document.file, FileField(backend="documents", rules=[MaxSize(5)])])
    assert (planned.backend, planned.rules) == ("documents", (MaxSize(5), ContentTypes("text/plain")))


# -- DTOs


@dataclass
class Data:
    id: int
    first: Annotated[FileObject, MaxSize(7)]
    second: FileObject | None = None
    _hidden: FileObject | None = None


@dataclass
class Marked:
    title: str
    file: FileObject = field(metadata=dto_field("private"))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (DTOConfig(), {"first", "second"}),
        (DTOConfig(exclude={"second"}), {"first"}),
        (DTOConfig(include={"id", "second"}), {"second"}),
        (DTOConfig(rename_fields={"first": "main"}, rename_strategy="upper"), {"main", "SECOND"}),
        (DTOConfig(rename_strategy=lambda name: f"x_{name}"), {"x_first", "x_second"}),
        (DTOConfig(underscore_fields_private=False), {"first", "second", "_hidden"}),
    ],
)
def test_dto_decides_which_files_are_taken(config: DTOConfig, names: set[str]) -> None:
    """A DTO's inclusions, exclusions and names hold for files too."""
    assert set(plan_of(Data, dto=DataclassDTO[Annotated[Data, config]]).by_name) == names


def test_rules_hold_below_a_dto() -> None:
    """What the model's annotation says holds for a DTO of the model."""
    assert plan_of(Data, dto=DataclassDTO[Data]).by_name["first"].rules == (MaxSize(7),)


def test_partial_dto_requires_nothing() -> None:
    """No file of a partial form is required."""
    plan = plan_of(Data, dto=DataclassDTO[Annotated[Data, DTOConfig(partial=True)]])
    assert [each.required for each in plan.files] == [False, False]


def test_private_field_of_a_dto_takes_no_files() -> None:
    """A field that clients may not write takes no files, and so the form has none."""
    assert list(plans_of(multipart(Marked), dto=DataclassDTO[Marked])) == [None]


# -- annotations that do not exist at run time


@dataclass
class Unresolved:
    title: str
    file: FileObject
    backend: "ObstoreBackend | None" = None


class UnresolvedStruct(msgspec.Struct):
    file: FileObject
    backend: "ObstoreBackend | None" = None


@pytest.mark.parametrize("form", [Unresolved, UnresolvedStruct])
def test_annotation_for_type_checkers_only_is_an_error_with_class_and_field(form: type) -> None:
    """A form that Litestar could never fill is found when the application starts, not with the first request."""
    expected = rf"test_plans\.{form.__name__}.*field 'backend' names 'ObstoreBackend'"
    with pytest.raises(ImproperlyConfiguredException, match=expected):
        plan_of(form)
