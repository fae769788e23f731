"""Broken protocols, each with one step left out or moved, to show that the checks of the kill matrix find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.tracking import custody
from litestar_filestore.tracking.custody import LedgerCustody

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar_filestore import FileObject

__all__ = ("SABOTAGE",)


def _no_link() -> None:
    def link(_custody: LedgerCustody, _files: Sequence[FileObject]) -> bool:
        return False

    setattr(LedgerCustody, "_link", link)  # noqa: B010


def _no_doom() -> None:
    def doom(_custody: LedgerCustody, _files: Sequence[FileObject]) -> None:
        pass

    setattr(LedgerCustody, "_doom", doom)  # noqa: B010


def _eager_delete() -> None:
    whole = LedgerCustody._doom  # noqa: SLF001

    def doom(custody: LedgerCustody, files: Sequence[FileObject]) -> None:
        whole(custody, files)
        for file in files:
            file.delete()

    setattr(LedgerCustody, "_doom", doom)  # noqa: B010


def _bytes_after_row() -> None:
    store = LedgerCustody.store

    def store_later(custody: LedgerCustody, file: FileObject) -> None:
        pending = file.pending_content()
        store(custody, file)
        file.delete()

        def after_commit(_session: Session) -> None:
            assert isinstance(pending.content, list)
            file.backend.put(pending.content, key=file.path)

        event.listen(Session, "after_commit", after_commit)

    setattr(LedgerCustody, "store", store_later)  # noqa: B010


def _no_intent() -> None:
    def stage(_custody: LedgerCustody, _key: object) -> bool:
        return False

    def note(*_: object, **__: object) -> None:
        pass

    setattr(LedgerCustody, "_stage", stage)  # noqa: B010
    setattr(custody, "note", note)  # noqa: B010


SABOTAGE: dict[str, Callable[[], None]] = {
    "no link": _no_link,
    "no doom": _no_doom,
    "deleted before the commit": _eager_delete,
    "bytes after the row": _bytes_after_row,
    "no intent": _no_intent,
}
"""Ways to break this process's ledger, by name."""
