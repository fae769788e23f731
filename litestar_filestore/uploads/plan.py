"""The plan of an upload before it comes: one record for each field of files, and one for the form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import UsedLink
    from litestar_filestore.core.rule import Rule

__all__ = ("ANY_FORM", "PlannedFile", "UploadForm")


@dataclass(frozen=True)
class PlannedFile:
    """One field of files, a body that is a file, or what comes through a link."""

    name: str
    """Name of its parts on the wire; the one to tell people."""
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
    """Longest that it may be, beside what `rules` say: the smaller of both holds."""
    key_template: str | Callable[[FileObject], str | None] | None = None
    """Where to put it, or what tells that for each file by its name and type; ``None`` for the backend's template."""
    key: str | None = None
    """Where to put it, once, instead of under a new key."""
    link: UsedLink | None = None
    """The link that it comes through."""
    model: type | None = None
    """The mapped class whose row is going to hold it, where known."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that its parts may have."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class UploadForm:
    """The form of one handler."""

    files: tuple[PlannedFile, ...] = ()
    """Its fields of files."""
    spooled: frozenset[str] = frozenset()
    """Names of the fields that are Litestar's own ``UploadFile``."""
    texts: frozenset[str] = frozenset()
    """Names of all other fields: their values are text, also where they are sent as files."""
    lists: frozenset[str] = frozenset()
    """Names whose values are lists, also of one part. Litestar looks for them by attribute, not by name."""
    undocumented: frozenset[str] = frozenset()
    """Names of the fields of files in the schema of the class, which the document has under their first names."""
    whole: bool = False
    """Whether the body is a file or a list of files without a form around: its one field takes parts of any name."""
    optional: bool = False
    """Whether there may be no form at all."""
    class_: Any = None
    """The class that it becomes, where there is one."""
    uses_dto: bool = False
    """Whether a DTO makes it."""

    @cached_property
    def by_name(self) -> Mapping[str, PlannedFile]:
        """The fields of files by all names that their parts may have."""
        return {name: each for each in self.files for name in each.names}

    def planned(self, name: str) -> PlannedFile | None:
        """Return what is planned for files in parts of a name; ``None`` if they are no files of this package."""
        found = self.by_name.get(name)
        return self.files[0] if found is None and self.whole and name not in self.spooled else found

    @property
    def needs_no_file(self) -> bool:
        """Whether a form without a file is a whole one, so that it may be written as text alone."""
        return not self.whole and all(each.nullable or not each.required for each in self.files)


ANY_FORM: Final = UploadForm(files=(PlannedFile("file", many=True),), whole=True)
"""For a form of which nobody has said what it holds: it may be as many files as any form may have."""
