"""The column type, and the value of a column with several files: a list that notices its own changes."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm.base import NO_VALUE
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import Null

from litestar_filestore.core.file_ids import file_id_of, new_file_id
from litestar_filestore.core.file_object import ID_IN_METADATA, FileObject, KeptFile
from litestar_filestore.core.keys import check_key_template
from litestar_filestore.core.registry import storages
from litestar_filestore.core.rule import Rule, checked_rules
from litestar_filestore.errors import (
    FileRejectedError,
    InvalidArgumentError,
    SourceTypeError,
    UnsupportedOperationError,
)
from litestar_filestore.orm.first_column import begin

if TYPE_CHECKING:
    from typing import Self

    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import SessionTransaction
    from sqlalchemy.sql.operators import OperatorType
    from sqlalchemy.types import TypeEngine

    from litestar_filestore.core.backend import StorageBackend

__all__ = (
    "FileObjectList",
    "KeyMaker",
    "StoredObject",
    "TrackedFiles",
    "names_entries",
    "not_a_file",
    "put_held_files",
    "unseen_write",
)

FileObjectList: TypeAlias = MutableList[FileObject]
"""Type of an attribute with several files, named as in Advanced Alchemy. The value is a `TrackedFiles`.

This is an alias of the generic type, because Litestar's DTOs ask a collection type for the type of its items.
"""


class TrackedFiles(MutableList[FileObject]):
    """A ``list[FileObject]`` whose in-place changes (``append``, ``remove``, slices ...) are written at the next flush.

    Columns with ``multiple=True`` convert every assigned list to this class. It gives ids to files that have none.
    """

    def __init__(self, files: Iterable[FileObject] = ()) -> None:
        """Track `files`."""
        super().__init__(files)
        self._before: list[FileObject] = []
        self.watch()

    def changed(self) -> None:
        """Flag this list as changed in the rows that hold it, and resolve ids that were put into it."""
        before = self._before
        self.watch()
        self._flag(before)
        if names_entries(self) and self._parents and not names_entries(before):
            put_held_files(next(iter(self._parents.values())), self, before)

    def watch(self) -> None:
        """Listen to the files that are in the list now, and give ids to those that have none."""
        this = weakref.ref(self)

        def file_changes(file: FileObject) -> None:
            if (files := this()) is not None:
                files.file_changes(file)

        self._give_ids()
        self._before = list(self)
        for file in self:
            file.on_change = file_changes

    def _give_ids(self) -> None:
        """Give each file an id of its own; those that were here before keep theirs."""
        here = {id(file) for file in self}
        known = {file.id: file for file in self._before if id(file) in here and file.given_id is None}
        for file in self:
            if file.given_id is None and (file.id is None or known.setdefault(file.id, file) is not file):
                file.id = new_file_id()

    def file_changes(self, file: FileObject) -> None:
        """Flag this list in the rows that hold it, because one of its files is about to change in place."""
        twin = copy(file)
        self._flag(self._before, {id(file): twin})

    def _flag(self, before: list[FileObject], twins: Mapping[int, FileObject] | None = None) -> None:
        """Flag the attribute of each row and keep its old value, which SQLAlchemy itself would forget."""
        parents = [(state, key, state.committed_state.get(key, self)) for state, key in self._parents.items()]
        super().changed()
        for state, key, old in parents:
            was = NO_VALUE if old is self and state.dict.get(key) is not self else before if old is self else old
            if isinstance(was, list) and twins:
                was = [twins.get(id(file), file) for file in cast("list[FileObject]", was)]
            state.committed_state[key] = was

    @classmethod
    def coerce(cls, key: str, value: Any) -> Self | None:
        """Return `value` as a tracked list.

        Args:
            key: Name of the attribute, for messages.
            value: ``None``, one file, or an iterable of files.

        Raises:
            SourceTypeError: If it holds anything but files; the error is also a ``TypeError``.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, FileObject):
            return cls([value])
        kind = type(value).__name__
        files: list[Any] = list(cast("Any", value)) if isinstance(value, Iterable) else [value]
        if not all(isinstance(each, FileObject) for each in files):
            wrong = (
                kind
                if isinstance(value, (str, bytes, bytearray))
                else f"{kind} of "
                + ", ".join(sorted({type(each).__name__ for each in files if not isinstance(each, FileObject)}))
            )
            raise SourceTypeError(f"{key!r} takes a list of FileObject, not {wrong}: {_HOW_TO_MAKE_A_FILE}")
        return cls(files)


def names_entries(value: object) -> bool:
    """Return whether a value of a file column has files for which a client has named entries of the row's list."""
    files = cast("Iterable[Any]", value) if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(file, FileObject) and file.given_id is not None for file in files)


def put_held_files(field: str, value: Any, held: Iterable[FileObject]) -> None:
    """Put the files of a row into a list in place of those that a client has named by their ids.

    A file that stays is the row's own; a new file takes over the id of the one that it replaces.

    Args:
        field: Name of the attribute, for messages.
        value: The value of the attribute. A list is changed in place; any other value must not name an entry.
        held: The files that the row holds in this column.

    Raises:
        FileRejectedError: If an id is not, or no longer, in the list or was named twice. Nothing is changed then.
    """
    if not names_entries(value):
        return
    if not isinstance(value, list):
        raise FileRejectedError("Only a list has files with ids: send the content, or a reference", field=field)
    entries = {file.id: file for file in held}
    files = cast("list[FileObject]", [*value])
    for place, file in enumerate(files):
        if file.given_id is None:
            continue
        if (entry := entries.pop(file.given_id, None)) is None:
            raise FileRejectedError(
                f"No file here has the id {file.given_id}, or it was named twice: look up which files there are now, "
                "and name each at most once",
                field=field,
            )
        files[place] = entry if isinstance(file, KeptFile) else file
    for file in files:
        if file.given_id is not None:
            file.id, file.given_id = file.given_id, None
    # Not as a change of the list: it is the same change that the client has asked for.
    list[FileObject].__setitem__(cast("list[FileObject]", value), slice(None), files)
    if isinstance(value, TrackedFiles):
        value.watch()


unseen_write: ContextVar[weakref.ref[SessionTransaction] | None] = ContextVar(
    "litestar_filestore_unseen_write", default=None
)
"""The transaction in which a session of this task or thread makes untracked bulk writes, while it is active."""


class _RefusedWriteError(UnsupportedOperationError, DontWrapMixin):
    """An error that a statement raises unchanged: SQLAlchemy would wrap others that its parameters raise."""


_HOW_TO_MAKE_A_FILE = "write FileObject(backend, 'name.txt', content=...), or source_path= for a local file"


def not_a_file(place: str, value: object) -> SourceTypeError:
    """Return the error for a value that is no file, in a place for one."""
    type_ = type(value)
    if issubclass(type_, (list, tuple)):
        return SourceTypeError(
            f"{place} holds one FileObject, not {type_.__name__}: assign one of its files, or declare the column "
            "as StoredObject(..., multiple=True)"
        )
    if type_.__name__ == FileObject.__name__:
        return SourceTypeError(
            f"{place} takes the FileObject of litestar_filestore, not that of {type_.__module__}: change the import"
        )
    return SourceTypeError(f"{place} takes a FileObject, not {type_.__name__}: {_HOW_TO_MAKE_A_FILE}")


KeyMaker: TypeAlias = Callable[[FileObject], str]
"""Returns the key template for one file, for example a folder per tenant; the result is checked like any template."""


class StoredObject(sa.TypeDecorator["FileObject | TrackedFiles"]):
    """One file, or a list of files with ``multiple=True``, kept as JSON (JSONB on PostgreSQL).

    Content attached to a model is stored before its row is written, so the row is complete and never points at missing
    bytes. The backend is looked up when content is first stored or read, so you can create tables and run migrations
    without it.
    """

    class comparator_factory(  # noqa: N801  # SQLAlchemy's name  # pyright: ignore[reportIncompatibleVariableOverride]
        sa.TypeDecorator.Comparator[Any], sa.JSON.Comparator[Any]
    ):
        """Compares as JSON does, except that no file is no file: SQL NULL, or the JSON ``null`` of Advanced Alchemy."""

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> sa.ColumnElement[Any]:
            """Return the comparison."""
            compared = super().operate(op, *other, **options)
            if len(other) == 1 and (other[0] is None or isinstance(other[0], Null)):
                text = sa.cast(self.expr, sa.Text)
                if op in {operators.is_, operators.eq}:
                    return sa.or_(compared, text == "null")
                if op in {operators.is_not, operators.ne}:
                    return sa.and_(compared, text != "null")
            return compared

    impl = sa.JSON
    cache_ok = True
    multiple: bool
    """Whether the column holds a list of files."""
    # Alembic writes "<module>.<repr>" into migrations, so this path is short and stable; see `ledger.migrations`.
    __module__ = "litestar_filestore"

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Start tracking sessions; this also runs when a column type is copied or unpickled."""
        begin()
        return super().__new__(cls)

    def __init__(
        self,
        backend: str | StorageBackend,
        multiple: bool = False,  # noqa: FBT001, FBT002  # Advanced Alchemy's signature
        *args: Any,
        key: str | KeyMaker | None = None,
        rules: Sequence[Rule] = (),
        **kwargs: Any,
    ) -> None:
        """Declare a file column.

        Args:
            backend: The backend that new content goes to, or its key in `storages`.
            multiple: Whether the column holds a list of files.
            *args: For the JSON type underneath.
            key: Key template to use instead of the backend's: one that `check_key_template` accepts, or a callable
                that returns one for a file.
            rules: Rules that a file must pass before a row takes it, whoever stored it; see
                `litestar_filestore.validation.rules`. Files that rows already hold are not checked again.
            **kwargs: For the JSON type underneath.

        Raises:
            ConfigurationError: If `key` is a template that cannot work, or `rules` is no list of rules.
        """
        # Store None as SQL NULL: a JSON null would pass NOT NULL constraints and not match IS NULL.
        super().__init__(*args, **{"none_as_null": True, **kwargs})
        self.multiple = multiple
        self._raw_backend = backend
        # SQLAlchemy builds the cache key of a type from the attributes named like the constructor's parameters.
        self.__dict__["backend"] = backend
        self._key = check_key_template(key) if isinstance(key, str) else key
        # Not named like the parameter: rules do not affect statements and need not be hashable.
        self._rules = checked_rules(rules, "StoredObject")

    def __repr__(self) -> str:
        """Return the call that recreates this type, without what only matters at run time."""
        return f"StoredObject(backend={self.storage_key!r}{', multiple=True' if self.multiple else ''})"

    @property
    def python_type(self) -> type[Any]:
        """`FileObject`, or `TrackedFiles` with ``multiple=True``."""
        return TrackedFiles if self.multiple else FileObject

    @property
    def backend(self) -> StorageBackend:
        """The backend, looked up in `storages` if it was given by key.

        Raises:
            BackendNotRegisteredError: If no backend of that key is registered.
        """
        raw = self._raw_backend
        return storages.get_backend(raw) if isinstance(raw, str) else raw

    @property
    def storage_key(self) -> str:
        """Key of the backend; needs no look-up."""
        return self._raw_backend if isinstance(self._raw_backend, str) else self._raw_backend.key

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that a file must pass before a row takes it."""
        return self._rules

    @property
    def key_template(self) -> str | None:
        """The key template for all files; ``None`` for the backend's own, or if a callable chooses one per file."""
        return self._key if isinstance(self._key, str) else None

    def key_template_for(self, file: FileObject) -> str | None:
        """Return the key template for one new file, ``None`` for the backend's own.

        Raises:
            ConfigurationError: If the column's callable returned an invalid template.
        """
        return check_key_template(self._key(file)) if callable(self._key) else self._key

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return JSONB on PostgreSQL and JSON elsewhere."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return super().load_dialect_impl(dialect)

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> Any:
        """Compare files as files, and paths into the JSON (``column["size"]``) as JSON values."""
        if isinstance(value, (FileObject, list)):
            return _ComparedFile(self._raw_backend, self.multiple)
        return self.impl_instance.coerce_compared_value(op, value)

    def process_bind_param(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002  # SQLAlchemy's signature
    ) -> dict[str, Any] | list[dict[str, Any]] | None:
        """Return the JSON of a stored file or a list of them.

        Raises:
            SourceTypeError: If `value` is not a file, or is a list and the column holds one file; also a ``TypeError``.
            InvalidArgumentError: If the content of a file was not stored: the row would point at missing bytes.
            UnsupportedOperationError: If a session writes in a way that cannot be tracked.
        """
        _check_seen()
        if value is None:
            return None
        if self.multiple:
            return [_row(each) for each in _items(value)]
        row = _row(value)
        row["metadata"].pop(ID_IN_METADATA, None)  # of a list that it was in before
        return row

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002  # SQLAlchemy's signature
    ) -> FileObject | TrackedFiles | None:
        """Return the file or files of a row, even of one that Advanced Alchemy wrote."""
        if isinstance(value, (str, bytes)):
            value = msgspec.json.decode(value)
        if value is None:
            return None
        if self.multiple:
            rows = cast("Iterable[Any]", [value] if isinstance(value, Mapping) else value)
            return TrackedFiles(
                _with_ids(FileObject.from_dict(each, self._raw_backend, in_row=True) for each in rows if each)
            )
        if not isinstance(value, (dict, Mapping)):
            raise SourceTypeError(
                f"A column for one file holds {type(value).__name__}; was it declared multiple before? Declare it so "
                "again, or migrate its rows"
            )
        return FileObject.from_dict(  # a row that is no JSON object fails there
            value,  # pyright: ignore[reportUnknownArgumentType]
            self._raw_backend,
            in_row=True,
        )

    def compare_values(self, x: Any, y: Any) -> bool:
        """Return whether both would be written as the same JSON; unsaved content differs from everything."""
        return x is y or bool(_comparable(x) == _comparable(y))


class _ComparedFile(StoredObject):
    """The other side of a comparison. Content that was not stored is in no row, so it matches none."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> dict[str, Any] | list[dict[str, Any]] | None:
        """Return the JSON of files, stored or not."""
        if isinstance(value, FileObject):
            return value.to_dict()
        if isinstance(value, list):
            return [each.to_dict() for each in cast("Iterable[FileObject]", value)]
        return super().process_bind_param(value, dialect)


def _with_ids(files: Iterable[FileObject]) -> Iterator[FileObject]:
    """Give ids to files of rows that have none yet: always the same ones, until the row is written with them."""
    seen: Counter[str] = Counter()
    for file in files:
        if file.id is None:
            file.id = file_id_of(file.path, seen[file.path])
            seen[file.path] += 1
        yield file


def _items(value: Any) -> Iterable[Any]:
    # Do not build a TrackedFiles here: it would take over the files' notifications from the list of the row.
    if isinstance(value, FileObject) or not isinstance(value, (list, tuple, set, frozenset)):
        return [value]
    return cast("Iterable[Any]", value)


def _check_seen() -> None:
    # Every value that is written passes through the column's type, even None, whatever built the statement.
    writing = unseen_write.get()
    transaction = None if writing is None else writing()
    if transaction is not None and transaction.is_active:
        raise _RefusedWriteError(
            "bulk_save_objects, bulk_insert_mappings and bulk_update_mappings of a session write no files, since "
            "nobody could follow them: use add_all(), or execute() with insert(Model) or update(Model) and the rows"
        )


def _row(file: Any) -> dict[str, Any]:
    if not isinstance(file, FileObject):
        raise not_a_file("A file column", file)
    if file.has_pending_data:
        raise InvalidArgumentError(
            "The content of this file was not stored. Sessions store what is added to them before the row is written; "
            "statements on tables and connections do not: call save() before them, and keep the file yourself",
            backend=file.backend_key,
        )
    return file.to_dict()


def _comparable(value: Any) -> Any:
    if isinstance(value, FileObject):
        return id(value) if value.has_pending_data or value.given_id is not None else value.to_dict()
    if isinstance(value, list):
        return [_comparable(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value
