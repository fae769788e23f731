"""What a handler expects of an upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import UsedLink
    from litestar_filestore.core.rules import Rule

__all__ = ("ANY_FORM", "PlannedFile", "UploadPlan")


@dataclass(frozen=True)
class PlannedFile:
    """One file field of a form."""

    name: str
    """Name of its parts on the wire."""
    many: bool = False
    """Whether several parts may have it."""
    required: bool = True
    """Whether the form is refused without it."""
    backend: str | None = None
    """Key of the backend; ``None`` for the only one that is registered."""
    rules: tuple[Rule, ...] = ()
    """What each file has to be."""
    max_bytes: int | None = None
    """Longest that it may be, beside what `rules` say: the smaller of both holds."""
    key_template: str | None = None
    """Where to put it instead of the backend's template."""
    key_maker: Callable[[FileObject], str | None] | None = None
    """Makes the template of each file instead, from its name and type."""
    key: str | None = None
    """Where to put it, once, instead of under a new key."""
    link: UsedLink | None = None
    """The link that it comes through."""
    model: type | None = None
    """The mapped class whose row is going to hold it, where known."""

    def template_for(self, file: FileObject) -> str | None:
        """Return the key template of a new file, ``None`` for the backend's own."""
        return self.key_template if self.key_maker is None else self.key_maker(file)


@dataclass(frozen=True)
class UploadPlan:
    """The file fields of one handler's form."""

    files: Mapping[str, PlannedFile] = field(default_factory=dict[str, PlannedFile])
    """By name on the wire."""
    spooled: frozenset[str] = frozenset()
    """Names of the fields that are Litestar's own ``UploadFile``."""
    texts: frozenset[str] = frozenset()
    """Names of all other fields: their values are text, also where they are sent as files."""
    any_name: PlannedFile | None = None
    """Takes files of names that are not in `files`; for a body that is nothing but files."""


ANY_FORM: Final = UploadPlan(any_name=PlannedFile("file", many=True))
"""For a form of which nobody has said what it holds: it may be as many files as any form may have."""
