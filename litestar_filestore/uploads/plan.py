"""The plan of an upload before it arrives: one record for each file field, and one for the form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import UsedLink
    from litestar_filestore.core.rule import Rule

_ENTRY = re.compile(r"(.+)\[([a-z2-7]{16})\]")

__all__ = ("ANY_FORM", "PlannedFile", "UploadForm")


@dataclass(frozen=True)
class PlannedFile:
    """A file field, a body that is a file, or an upload through a link."""

    name: str
    """Name of its parts on the wire; messages use this one."""
    aliases: tuple[str, ...] = ()
    """Other names that its parts may have."""
    many: bool = False
    """Whether it takes several files."""
    required: bool = True
    """Whether the form is refused without it."""
    nullable: bool = False
    """Whether ``None`` is a value."""
    backend: str | None = None
    """Key of the backend; ``None`` for the only one that is registered."""
    rules: tuple[Rule, ...] = ()
    """Rules for each file."""
    max_bytes: int | None = None
    """Largest size of a file in addition to `rules`; the smaller one applies."""
    key_template: str | Callable[[FileObject], str | None] | None = None
    """Key template, or a function of a file's name and type that returns one; ``None`` for the backend's template."""
    key: str | None = None
    """Key to store under, once, instead of a new key."""
    link: UsedLink | None = None
    """The link that it comes through."""
    model: type | None = None
    """The mapped class whose row is going to hold it, if known."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names that its parts may have."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class UploadForm:
    """The form of one handler."""

    files: tuple[PlannedFile, ...] = ()
    """Its file fields."""
    spooled: frozenset[str] = frozenset()
    """Names of the fields of Litestar's own type ``UploadFile``."""
    texts: frozenset[str] = frozenset()
    """Names of all other fields: their values are text, even if they are sent as files."""
    lists: frozenset[str] = frozenset()
    """Names whose values are lists, even for a single part. Litestar looks them up by attribute, not by name."""
    undocumented: frozenset[str] = frozenset()
    """Names of the file fields in the schema of the class; the document shows their first names."""
    whole: bool = False
    """Whether the handler takes a file or a list of files without a form class: its one field takes parts of any
    name."""
    optional: bool = False
    """Whether the request may have no form at all."""
    class_: Any = None
    """The class that the form becomes, if there is one."""
    uses_dto: bool = False
    """Whether a DTO makes the class."""

    @cached_property
    def by_name(self) -> Mapping[str, PlannedFile]:
        """The file fields by all names that their parts may have."""
        return {name: each for each in self.files for name in each.names}

    def planned(self, name: str) -> PlannedFile | None:
        """Return the plan for files in parts of this name; ``None`` if they are not files of this package."""
        found = self.by_name.get(name)
        return self.files[0] if found is None and self.whole and name not in self.spooled else found

    def entry(self, name: str) -> tuple[str, str | None]:
        """Return the field of a part, and the id of the file in its list that the part is about: ``pages[id]``."""
        found = _ENTRY.fullmatch(name) if name.endswith("]") else None
        planned = None if found is None else self.by_name.get(found[1])
        return (name, None) if found is None or planned is None or not planned.many else (found[1], found[2])

    @cached_property
    def needs_no_file(self) -> bool:
        """Whether a form without a file is complete, so that it may be sent as text only."""
        return not self.whole and all(each.nullable or not each.required for each in self.files)


ANY_FORM: Final = UploadForm(files=(PlannedFile("file", many=True),), whole=True)
"""For a form whose content is not declared: it may hold as many files as any form may have."""
