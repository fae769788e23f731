"""Who looks after the objects of a flush where there is no ledger: the memory of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.core.file_record import Referred
from litestar_filestore.errors import ConflictError
from litestar_filestore.orm._bridge import call
from litestar_filestore.orm.deletes import Target
from litestar_filestore.orm.journal import Journal, journal_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from litestar_filestore.core.file_object import FileObject

__all__ = ("JournalCustody", "check_distinct", "store_for")


class JournalCustody:
    """Remembers in the session what its transactions did, and undoes or finishes it when they end."""

    def __init__(self, session: Session) -> None:
        """Look after files of `session`."""
        self._session = session

    def store(self, file: FileObject) -> None:
        """Store, and delete if the transaction rolls back."""
        file.prepare_key()
        store_for(journal_of(self._session), self._session, file)

    def expect(self, file: FileObject) -> None:
        """Take what a client's reference names; other files are the program's own business.

        Before the row is locked or written: of two processes that were sent the same reference, the store tells one.
        """
        if file.referred in {Referred.FREE, Referred.KEPT}:
            journal_of(self._session).take(self._session, file)

    def link_first(self, gained: Sequence[FileObject], lost: Sequence[FileObject], kept: set[FileObject]) -> bool:
        """Do nothing: nobody but rows knows who holds what."""
        del gained, lost, kept
        return False

    def settle(self, gained: Sequence[FileObject], lost: Sequence[FileObject]) -> None:
        """Delete `lost` after the commit.

        Raises:
            ConflictError: If two rows would hold one file.
        """
        journal = journal_of(self._session)
        check_distinct(gained)
        for file in set(gained).difference(lost):
            if file.referred is not None:
                journal.check_free(file)
        # First what was given up, then what was taken: a file may move from one row to another.
        for file in lost:
            journal.doomed(self._session, file)
        for file in gained:
            journal.linked(self._session, file)


def check_distinct(files: Sequence[FileObject]) -> None:
    """Make sure that no file goes into two rows.

    Raises:
        ConflictError: If one does.
    """
    if len(set(files)) != len(files):
        raise ConflictError("One file was assigned to two rows; assign file.copy() to one of them")


def store_for(journal: Journal, session: Session, file: FileObject) -> None:
    """Store pending content, and have the journal delete it if the transaction rolls back."""
    pending, target = file.pending_content(), Target(file.backend, file.path)
    key_is_new = file.key_is_new
    try:
        call(file.put, file.put_async)
    except BaseException:
        # The store may have kept the object all the same: the answer was lost, or the task was cancelled too late.
        # What lies under a pinned key may be somebody else's.
        if key_is_new:
            journal.abandoned(target)
        raise
    journal.stored(session, file, pending)
