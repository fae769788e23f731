"""The column type by itself: what it writes, reads, compares and renders."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from advanced_alchemy.types.file_object import FileObject as AdvancedAlchemyFileObject
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, StorageBackend, StoredObject
from litestar_filestore.errors import (
    BackendNotRegisteredError,
    ConfigurationError,
    InvalidArgumentError,
    SourceTypeError,
)
from litestar_filestore.orm.stored_object import TrackedFiles
from tests.orm.databases import Database
from tests.orm.models import BACKEND, Document, a_file

SINGLE = StoredObject(BACKEND)
MULTIPLE = StoredObject(BACKEND, multiple=True)
DIALECT = sqlite.dialect()


# -- how it is declared


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (StoredObject("nowhere"), "StoredObject(backend='nowhere')"),
        (StoredObject("nowhere", multiple=True), "StoredObject(backend='nowhere', multiple=True)"),
        (StoredObject("nowhere", key="a/{random}"), "StoredObject(backend='nowhere')"),
    ],
)
def test_repr_needs_no_backend(type_: StoredObject, expected: str) -> None:
    """What migrations write is known without a registered backend."""
    assert repr(type_) == expected


def test_backend_may_be_given_itself(backend: StorageBackend) -> None:
    """A backend object names itself."""
    column = StoredObject(backend)
    assert (column.backend, column.storage_key) == (backend, BACKEND)


def test_backend_is_looked_up_late(backend: StorageBackend) -> None:
    """A key stands for what is registered when it is asked for."""
    assert SINGLE.backend is backend
    with pytest.raises(BackendNotRegisteredError):
        _ = StoredObject("nowhere").backend


def test_python_type_tells_one_from_several() -> None:
    """Schema tools see what the attribute holds."""
    assert (SINGLE.python_type, MULTIPLE.python_type) == (FileObject, TrackedFiles)


@pytest.mark.parametrize("template", ["no-random", "../{random}", "{random}/{secret}"])
def test_bad_key_template_is_refused_at_once(template: str) -> None:
    """A template that would reuse or misplace keys does not get past the declaration."""
    with pytest.raises(ConfigurationError):
        StoredObject(BACKEND, key=template)


def test_tables_are_created_without_a_backend() -> None:
    """DDL depends on the database only."""
    engine = sa.create_engine("sqlite://")
    metadata = sa.MetaData()
    sa.Table("t", metadata, sa.Column("file", StoredObject("nowhere")))
    metadata.create_all(engine)
    assert sa.inspect(engine).has_table("t")
    engine.dispose()


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [(postgresql.dialect(), "JSONB"), (sqlite.dialect(), "JSON"), (mysql.dialect(), "JSON")],  # type: ignore[no-untyped-call]
)
def test_type_in_the_database(dialect: sa.Dialect, expected: str) -> None:
    """JSONB on PostgreSQL, JSON elsewhere."""
    assert SINGLE.compile(dialect) == expected


def test_columns_of_different_backends_share_no_cached_statement() -> None:
    """`cache_ok` promises that equal cache keys mean equal types."""
    table = sa.table("t", sa.column("a", StoredObject("one")), sa.column("a", StoredObject("one")))
    other = sa.table("t", sa.column("a", StoredObject("two")))
    several = sa.table("t", sa.column("a", StoredObject("one", multiple=True)))
    keys = [sa.select(each.c.a)._generate_cache_key() for each in (table, other, several)]  # noqa: SLF001
    assert len({key.key for key in keys if key is not None}) == 3


# -- what it writes


def test_none_is_sql_null(db: Database) -> None:
    """Not JSON's own null, which IS NULL does not find."""

    def work(session: Session) -> int | None:
        session.add(Document(id=1, file=None))
        session.commit()
        return session.scalar(sa.select(sa.func.count()).where(Document.file.is_(None)))

    assert db.run(work) == 1


def test_row_is_what_advanced_alchemy_writes_plus_the_key(db: Database) -> None:
    """The names in the JSON are a promise to other readers of the table."""

    def work(session: Session) -> Any:
        session.add(Document(id=1, file=FileObject(BACKEND, "a.txt", content=b"x", metadata={"page": 1})))
        session.commit()
        row = session.scalar(sa.text("SELECT file FROM document"))
        return json.loads(row) if isinstance(row, str) else row

    row = db.run(work)
    assert row.keys() == {
        *("filename", "to_filename", "content_type", "size", "last_modified"),
        *("checksum", "etag", "version_id", "metadata", "backend"),
    }
    assert (row["filename"], row["size"], row["metadata"], row["backend"]) == ("a.txt", 1, {"page": 1}, BACKEND)


def test_pending_file_is_refused() -> None:
    """A row must not point at bytes that nobody stored."""
    with pytest.raises(InvalidArgumentError, match="not stored"):
        SINGLE.process_bind_param(a_file(), DIALECT)


@pytest.mark.parametrize("value", [[FileObject(BACKEND, "a")], {"filename": "a"}, "a", b"b", 1])
def test_other_value_in_a_column_for_one_file_is_refused(value: object) -> None:
    """A mapping from a client, above all, never becomes a file."""
    with pytest.raises(SourceTypeError):
        SINGLE.process_bind_param(value, DIALECT)


@pytest.mark.parametrize("value", [[{"filename": "a"}], ["a"], {"filename": "a"}, 1])
def test_other_value_in_a_column_for_several_is_refused(value: object) -> None:
    """Every item is a file."""
    with pytest.raises(SourceTypeError):
        MULTIPLE.process_bind_param(value, DIALECT)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"x", r"^Document.file takes a FileObject, not bytes: write FileObject\(.*content=.*source_path="),
        ("a.txt", "^Document.file takes a FileObject, not str: write FileObject"),
        ([FileObject(BACKEND, "a")], "^Document.file holds one FileObject, not list: .*multiple=True"),
        (AdvancedAlchemyFileObject(BACKEND, "a"), "FileObject of litestar_filestore, .*advanced_alchemy.*import"),
    ],
    ids=["bytes", "str", "list", "Advanced Alchemy"],
)
def test_other_value_is_refused_when_it_is_assigned(value: Any, message: str) -> None:
    """The error comes from the line with the mistake, names the attribute, and shows how a file is made."""
    with pytest.raises(SourceTypeError, match=message):
        Document(file=value)
    document = Document()
    with pytest.raises(SourceTypeError, match=message):
        document.file = value


@pytest.mark.parametrize(
    ("value", "wrong"), [(b"x", "not bytes"), ([b"x"], "not list of bytes"), ("a.txt", "not str")], ids=type
)
def test_other_value_in_a_list_is_refused_when_it_is_assigned(value: Any, wrong: str) -> None:
    """So it is for several files."""
    with pytest.raises(SourceTypeError, match=f"'pages' takes a list of FileObject, {wrong}: write FileObject"):
        Document(pages=value)


def test_sql_may_be_assigned(db: Database) -> None:
    """An expression is a value as well."""

    def work(session: Session) -> FileObject | None:
        session.add(document := Document(id=1, file=sa.null()))
        session.commit()
        return document.file

    assert db.run(work) is None


def test_one_file_in_a_column_for_several_is_a_list_of_one() -> None:
    """As in Advanced Alchemy."""
    value = MULTIPLE.process_bind_param(FileObject(BACKEND, "a"), DIALECT)
    assert isinstance(value, list)
    assert [row["filename"] for row in value] == ["a"]


# -- what it reads


@pytest.mark.parametrize(
    "value", ['{"filename": "a"}', b'{"filename": "a"}', {"filename": "a"}], ids=["str", "bytes", "decoded"]
)
def test_json_is_read_as_text_and_decoded(value: object) -> None:
    """Some drivers decode JSON, others do not."""
    file = SINGLE.process_result_value(value, DIALECT)
    assert isinstance(file, FileObject)
    assert (file.path, file.backend_key) == ("a", BACKEND)


def test_unknown_names_in_a_row_are_ignored() -> None:
    """A row that a later version wrote is readable."""
    file = SINGLE.process_result_value({"filename": "a", "from_the_future": 1}, DIALECT)
    assert isinstance(file, FileObject)


def test_single_mapping_in_a_column_for_several_is_a_list_of_one() -> None:
    """A column that held one file before."""
    files = MULTIPLE.process_result_value({"filename": "a"}, DIALECT)
    assert isinstance(files, TrackedFiles)
    assert [file.path for file in files] == ["a"]


def test_list_in_a_column_for_one_file_is_explained() -> None:
    """A column that held several files before does not silently lose all but one."""
    with pytest.raises(SourceTypeError, match="multiple"):
        SINGLE.process_result_value([{"filename": "a"}], DIALECT)


def test_filter_by_no_file(db: Database) -> None:
    """Rows of Advanced Alchemy hold a JSON ``null`` where ours hold none; both have no file."""

    def work(session: Session) -> list[list[int]]:
        session.add_all([Document(id=1), Document(id=3, file=a_file())])
        session.execute(sa.text("INSERT INTO document (id, file) VALUES (2, 'null')"))
        session.commit()
        filters = (
            Document.file.is_(None),
            Document.file == None,  # noqa: E711  # an expression of SQL
            Document.file.is_(sa.null()),
            Document.file.is_not(None),
            Document.file != None,  # noqa: E711
        )
        return [[*session.scalars(sa.select(Document.id).where(each).order_by(Document.id))] for each in filters]

    assert db.run(work) == [[1, 2], [1, 2], [1, 2], [3], [3]]


def test_filter_by_what_is_in_the_json(db: Database) -> None:
    """Paths into the column compare as JSON does."""

    def work(session: Session) -> list[int]:
        session.add_all([Document(id=1, file=a_file(b"short")), Document(id=2, file=a_file(b"longer content"))])
        session.commit()
        size = sa.type_coerce(Document.file, sa.JSON)["size"].as_integer()
        return list(session.scalars(sa.select(Document.id).where(size > 10)))

    assert db.run(work) == [2]


def test_index_of_the_column_itself_filters(db: Database) -> None:
    """``column["size"].as_integer()`` needs no cast of the column."""

    def work(session: Session) -> list[int]:
        session.add_all([Document(id=1, file=a_file(b"short")), Document(id=2, file=a_file(b"longer content"))])
        session.commit()
        column: Any = Document.__table__.c.file
        name = column["filename"].as_string()
        return list(session.scalars(sa.select(Document.id).where(column["size"].as_integer() > 10, name == "same.txt")))

    assert db.run(work) == [2]


def test_stored_file_finds_its_row(db: Database) -> None:
    """A column compares with a file as with any value."""

    def work(session: Session) -> list[int]:
        session.add_all([Document(id=1, file=a_file(b"1")), Document(id=2, file=a_file(b"2"), pages=[a_file(b"3")])])
        session.commit()
        second = session.get_one(Document, 2)
        same = sa.select(Document.id).where(Document.file == second.file, Document.pages == second.pages)
        return list(session.scalars(same))

    assert db.run(work) == [2]


def test_pending_file_finds_no_row(db: Database) -> None:
    """Repositories look for a row with all values of a new one; content that was not stored is in none."""

    def work(session: Session) -> list[int]:
        session.add(Document(id=1, file=a_file()))
        session.commit()
        return list(session.scalars(sa.select(Document.id).where(Document.file == a_file())))

    assert db.run(work) == []


# -- key templates


def test_template_of_the_column_places_new_content(backend: StorageBackend) -> None:
    """A template is taken as it is, a callable is asked for each file."""
    assert StoredObject(BACKEND, key="docs/{random}").key_template_for(a_file()) == "docs/{random}"
    maker = StoredObject(BACKEND, key=lambda file: f"{file.content_type.replace('/', '-')}/{{random}}")
    assert maker.key_template_for(a_file()) == "text-plain/{random}"


def test_template_that_a_callable_makes_is_checked() -> None:
    """A tenant's name with dots does not lead out of the folder."""
    maker = StoredObject(BACKEND, key=lambda _file: "../{random}")
    with pytest.raises(ConfigurationError):
        maker.key_template_for(a_file())
