"""Redirects to links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.response import Redirect

from litestar_filestore.core.registry import storages
from litestar_filestore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from litestar.background_tasks import BackgroundTask, BackgroundTasks
    from litestar.response.redirect import RedirectStatusType

    from litestar_filestore.core.file_object import Disposition, FileObject

__all__ = ("FileRedirect",)

_DEFAULT_SECONDS = 300


class FileRedirect(Redirect):
    """Redirects a client to a link to a file.

    The handler that returns it has decided that this client may have the file, so the answer is for this client alone
    (``Cache-Control: private``), and is cached for less time than the link lives. The store does not learn the address
    of the page that led here (``Referrer-Policy``), which may be confidential.
    """

    __slots__ = ()

    def __init__(
        self,
        target: FileObject | str,
        *,
        expires_in: int = _DEFAULT_SECONDS,
        disposition: Disposition | None = None,
        filename: str | None = None,
        status_code: RedirectStatusType = 302,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        """Make a link, or use an existing one.

        Args:
            target: A file, which is linked as by `storages.url_for`; or an existing link, for example from
                ``await storages.url_for_async(...)`` if the store may have to fetch credentials.
            expires_in: Longest life of the link in seconds.
            disposition: For a file; see `storages.url_for`.
            filename: For a file; see `storages.url_for`.
            status_code: 302 for an address that changes; 303 after a POST; 307 keeps method and body.
            background: What Litestar runs after the response.

        Raises:
            ConfigurationError: If no application with a secret runs.
            InvalidArgumentError: If `expires_in` is out of bounds, or `disposition` or `filename` is given with a link.
        """
        if isinstance(target, str):
            if disposition is not None or filename is not None or expires_in < 1:
                raise InvalidArgumentError(
                    "A link as text takes no disposition=, filename= or expires_in= below 1: give the file instead"
                )
            url = target
        else:
            url = storages.url_for(target, expires_in=expires_in, disposition=disposition, filename=filename)
        # Links expire up to half their life early, so that those made within one window are the same.
        headers = {"Cache-Control": f"private, max-age={expires_in // 2}", "Referrer-Policy": "no-referrer"}
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # some of its types are incomplete in Litestar
            url, status_code=status_code, headers=headers, background=background
        )
