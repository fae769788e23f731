"""How Litestar wants a form that was read: which values are lists, what an empty input means, what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from litestar.exceptions import ValidationException

from litestar_filestore.core.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar import Request

__all__ = ("REMOVE", "FormShape", "ShapedField", "WholeBody", "invalid_form")

REMOVE = "remove"
"""The text that stands for no file on purpose. No reference looks like it."""


class WholeBody(dict[str, Any]):
    """A form that is nothing but one file, for handlers whose body is a `FileObject`.

    Litestar hands such a form to the decoder of the body's type as it is. A class of its own, so that the decoder can
    tell it from a mapping that a client has written.
    """

    @property
    def file(self) -> FileObject:
        """The file."""
        file: FileObject = next(iter(self.values()))
        return file


@dataclass(frozen=True)
class ShapedField:
    """One file field of a form."""

    wire_names: tuple[str, ...]
    """What the parts may be called; the first is the one to tell people."""
    required: bool
    """Whether the form is refused without it."""
    nullable: bool = False
    """Whether ``None`` is a value."""
    many: bool = False
    """Whether it takes several files."""

    def settle(self, form: dict[str, Any]) -> None:
        """Have `form` say what its parts of this field mean.

        What a browser sends for an input without a file (HTML, "constructing the entry list") is nothing that somebody
        wanted, and so are empty texts: scripts write ``file ?? ""``. A field that may be missing is missing then, and
        its default holds: in a partial form, that the row keeps its file. Only `REMOVE` takes a file away.
        """
        for name in self.wire_names:
            if name in form:
                self._settle(name, form)

    def _settle(self, name: str, form: dict[str, Any]) -> None:
        given = [each for each in _flat([form[name]]) if each != ""]
        files = [each for each in given if each != REMOVE]
        if given and not files and (self.nullable or self.many):
            form[name] = None if self.nullable else []
        elif given:
            kept = files or given
            form[name] = kept[0] if len(kept) == 1 else kept
        elif self.required and self.nullable:
            form[name] = None
        else:
            del form[name]


@dataclass(frozen=True)
class FormShape:
    """What Litestar expects of a form for one handler."""

    files: tuple[ShapedField, ...] = ()
    """The file fields."""
    lists: frozenset[str] = frozenset()
    """Names whose values are lists, also of one part. Litestar looks for them by attribute, not by name."""
    whole: bool = False
    """Whether the body is a file, or a list of files, without a form around."""
    many: bool = False
    """Whether that is a list."""
    optional: bool = False
    """Whether there may be no form at all."""
    names: tuple[str, ...] = field(default=("file",))
    """What a body without a form around is called in messages."""

    @property
    def needs_no_file(self) -> bool:
        """Whether a form without a file is a whole one, so that it may be written as text alone."""
        return not self.whole and all(each.nullable or not each.required for each in self.files)

    def shape(self, form: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
        """Return `form` as Litestar expects it.

        Raises:
            ValidationException: If a file is missing. Litestar would say so too, but not which.
        """
        if self.whole:
            return self._shape_whole(form, request)
        if not form and self.optional:
            return form
        for each in self.files:
            each.settle(form)
        missing = [each.wire_names[0] for each in self.files if each.required and not _any_of(each.wire_names, form)]
        if missing:
            raise invalid_form(request, [("This file is required", each) for each in missing])
        for name in self.lists & form.keys():
            if form[name] is not None and not isinstance(form[name], list):
                form[name] = [form[name]]
        return form

    def _shape_whole(self, form: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
        files = [each for each in _flat(form.values()) if isinstance(each, FileObject)]
        if not files and not self.optional:
            raise invalid_form(request, [("This file is required", self.names[0])])
        if self.many:
            # Litestar takes the values of the form for the list, and of no values it fails to take the first.
            return {str(number): each for number, each in enumerate(files)} or {"": []}
        return WholeBody(file=files[0]) if files else {}


def invalid_form(request: Request[Any, Any, Any], errors: Iterable[tuple[str, str]]) -> ValidationException:
    """Return the error with which Litestar refuses a body, for pairs of a message and the name of a field."""
    return ValidationException(
        f"Validation failed for {request.method} {request.url.path}",
        extra=[{"message": message, "key": key, "source": "body"} for message, key in errors],
    )


def _any_of(names: Iterable[str], form: dict[str, Any]) -> bool:
    return any(name in form for name in names)


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for each in values:
        if isinstance(each, list):
            items: list[Any] = each  # pyright: ignore[reportUnknownVariableType]  # of anything
            yield from items
        else:
            yield each
