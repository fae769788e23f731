"""What an annotation says about the files of a form field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar_filestore.core.keys import check_key_template
from litestar_filestore.core.rule import FileRule, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("FileField", "file_field")


@dataclass(frozen=True)
class FileField:
    """Says where the files of a form field go and what they have to be: ``Annotated[FileObject, FileField(...)]``."""

    backend: str | None = None
    """Key of the backend; ``None`` for the column's, or the application's only one."""
    rules: Sequence[Rule] = ()
    """What the files have to be; see `litestar_filestore.validation.rules`."""
    key_template: str | None = None
    """Where new content goes instead of the backend's template."""

    def __post_init__(self) -> None:
        """Check what can be checked without an application.

        Raises:
            ConfigurationError: If the template cannot work.
        """
        object.__setattr__(self, "rules", tuple(self.rules))
        if self.key_template is not None:
            check_key_template(self.key_template)


def file_field(metadata: Iterable[object]) -> FileField:
    """Return what the metadata of an ``Annotated`` says: its `FileField`, joined by the rules that stand there bare.

    Of several fields, the last says most: what it leaves open is the one's before it.
    """
    backend: str | None = None
    key_template: str | None = None
    rules: list[Rule] = []
    for each in metadata:
        if isinstance(each, FileField):
            backend, key_template = each.backend or backend, each.key_template or key_template
            rules += each.rules
        elif isinstance(each, FileRule):
            rules.append(each)
    return FileField(backend, tuple(rules), key_template)
