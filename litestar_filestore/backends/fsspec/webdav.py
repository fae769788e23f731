"""WebDAV (RFC 4918) through the client of webdav4.

webdav4's file system passes paths to its client unescaped, so the client sends ``%2F`` in a key as a slash. It moves
files by copying them, and removes a whole folder where a file was meant.
"""

from __future__ import annotations

import io
import tempfile
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

from litestar_filestore.backends.fsspec.folders import FileReader, FileStore, FileUpload
from litestar_filestore.backends.fsspec.fsspec_errors import ResponseError, is_named
from litestar_filestore.backends.fsspec.store import READ_BYTES, FoundFile, Place
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import InvalidKeyError, ObjectChangedError, ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar_filestore.core.types import Block, PutOptions

__all__ = ("WebdavStore",)

T = TypeVar("T")

_SPOOL_BYTES = 4 * BLOCK_BYTES
_ATTEMPTS = 3
_DELIMITERS = frozenset("?;#")


class WebdavStore(FileStore):
    """Files on a WebDAV server.

    A put first goes to a temporary file on this machine, and is sent when it is complete: the client underneath only
    accepts content that it can read at its own pace.
    """

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Add a timeout, and convert the credentials from a list to a pair."""
        auth = options.get("auth")
        # A pair from a JSON or TOML file is a list, which httpx does not accept.
        return {"timeout": 30, **options, "auth": tuple(cast("list[str]", auth)) if isinstance(auth, list) else auth}

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        super().__init__(fs, place)
        self._keeps: dict[str, bool] = {}

    def escaped(self, full: str) -> str:
        """Return a path escaped for the client, which decodes whatever looks like an escape."""
        return quote(full, safe="/")

    def again(self, request: Callable[[], T]) -> T:
        """Send a request that may be sent twice, and repeat it if the connection broke: servers close idle ones."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return request()
            except Exception as error:
                if not is_named(error, "TransportError"):
                    raise
        return request()

    def look(self, full: str) -> FoundFile | None:
        """Request the properties of one resource."""
        try:
            found = self._properties(full, "0")
        except Exception as error:
            if _is_missing(error):
                return None
            raise
        return next((_found(response) for response in found.responses.values()), None)

    def _properties(self, full: str, depth: str) -> Any:
        path, headers = self.escaped(full), {"Depth": depth}
        return self.again(lambda: self.fs.client.propfind(path, headers=headers, follow_redirects=True))

    def entries(self, full: str) -> list[tuple[str, FoundFile]]:
        """Request the members of a collection."""
        try:
            found = self._properties(full, "1")
        except Exception as error:
            if _is_missing(error):
                return []
            raise
        depth = len(_segments(str(self.fs.client.join_url(self.escaped(full)))))
        named = [(_segments(response.href), _found(response)) for response in found.responses.values()]
        return [(segments[-1], member) for segments, member in named if len(segments) > depth]

    def says_missing(self, error: Exception) -> bool:
        """Return whether an error may mean that a collection is missing (RFC 4918 §9.7.1: 409)."""
        return _is_missing(error) or is_named(error, "ResourceConflict") or _status(error) == HTTPStatus.CONFLICT

    def make_one_folder(self, full: str) -> None:
        """Make a collection."""
        self.again(lambda: self.fs.client.mkdir(self.escaped(full)))

    def remove(self, full: str) -> None:
        """Remove a resource; a missing one is fine."""
        try:
            self.again(lambda: self.fs.client.remove(self.escaped(full)))
        except Exception as error:
            if not _is_missing(error):
                raise

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Move a resource. The server checks that the target is free, but not every server does both in one step."""
        self._refuse_lost_names(target)
        self.refuse_taken(target, overwrite=overwrite)  # replacing a collection removes everything in it
        try:
            self._move(source, target, overwrite=overwrite)
        except Exception as error:
            if not is_named(error, "TransportError"):
                raise
            if self.look(source) is not None:  # else it was moved, and only the response was lost
                self._move(source, target, overwrite=overwrite)

    def _refuse_lost_names(self, target: str) -> None:
        """Raise `InvalidKeyError` for a name that this server would truncate.

        Measured with wsgidav 4.4: it unescapes the header ``Destination`` before it parses it, so a move to ``a?b``
        would go to ``a`` and replace another object. Whether a server does that is tested when it first matters.
        """
        for char in _DELIMITERS & set(target):
            if char not in self._keeps:
                self._keeps[char] = self._try_out(char)
            if not self._keeps[char]:
                raise InvalidKeyError(f"This WebDAV server cuts names at {char!r}; use another key")

    def _try_out(self, char: str) -> bool:
        plain, cut = self.hidden_name(), self.hidden_name()
        odd = f"{cut}{char}x"
        try:
            self.in_folder(plain, lambda: self.again(lambda: self._put_empty(plain)))
            self._move(plain, odd, overwrite=True)
            return self.look(odd) is not None
        finally:
            for name in (plain, odd, cut):
                self.remove(name)

    def _put_empty(self, full: str) -> None:
        self.fs.client.upload_fileobj(io.BytesIO(), self.escaped(full), overwrite=True, size=0)

    def _move(self, source: str, target: str, *, overwrite: bool) -> None:
        try:
            self.fs.client.move(self.escaped(source), self.escaped(target), overwrite=overwrite)
        except Exception as error:
            if is_named(error, "ResourceAlreadyExists"):
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy on the server to a hidden name, then move the copy."""
        self.find(source)
        hidden, full = self.hidden_name(), self.full(target)
        try:
            self.in_folder(hidden, lambda: self._copy(self.full(source), hidden))
            self.in_folder(full, lambda: self.move(hidden, full, overwrite=overwrite))
        except BaseException:
            self.remove(hidden)
            raise

    def _copy(self, source: str, target: str) -> None:
        self.again(lambda: self.fs.client.copy(self.escaped(source), self.escaped(target), overwrite=True))

    def upload(self, path: str, options: PutOptions) -> FileUpload:
        """Begin a put."""
        return _WebdavUpload(self, path, overwrite=options.overwrite)

    def reader(self, path: str, start: int, end: int | None) -> FileReader:
        """Begin a read."""
        return _WebdavReader(self, path, start, end)

    def close(self) -> None:
        """Close the connections."""
        self.fs.client.http.close()


class _WebdavUpload(FileUpload):
    store: WebdavStore

    def open(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  # closed by `finish` or `discard`

    def append(self, block: Block) -> None:
        self._file.write(block)

    def finish(self) -> None:
        with self._file:
            self.store.in_folder(self.hidden, lambda: self.store.again(self._send))

    def _send(self) -> None:
        self._file.seek(0)
        hidden = self.store.escaped(self.hidden)
        self.store.fs.client.upload_fileobj(self._file, hidden, overwrite=True, size=self.size, chunk_size=BLOCK_BYTES)


class _WebdavReader(FileReader):
    """Reads the response to one request, so all bytes belong to one version."""

    store: WebdavStore
    _blocks: Iterator[bytes]

    def open(self) -> FoundFile:
        for _ in range(_ATTEMPTS):
            # A GET of a collection succeeds as well, with a page for browsers.
            found = self.store.find(self.path)
            if not found.size or (self.offset and self.offset >= found.size):
                return found
            try:
                if self.store.again(self._request) == found.size:
                    return found
            except ResponseError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
            self.shut()  # replaced between the two requests
        raise ObjectChangedError("The object is being replaced all the time: read it again later")

    def _request(self) -> int:
        """Send the request and return the size of the object in the response."""
        client = self.store.fs.client
        headers = {"Range": f"bytes={self.offset}-", "Accept-Encoding": "identity"}
        url = client.join_url(self.store.escaped(self.store.full(self.path)))
        response = self._file = client.http.send(client.http.build_request("GET", url, headers=headers), stream=True)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            response.close()
            raise ResponseError(response.status_code)
        self._blocks = response.iter_raw(READ_BYTES)
        self._rest = b""
        if (span := response.headers.get("Content-Range")) is not None:
            return int(span.rpartition("/")[2])
        self._skip(self.offset)  # the server ignores ranges
        return int(response.headers["Content-Length"])

    def _skip(self, count: int) -> None:
        while count > 0:
            block = next(self._blocks, b"")
            if not block:
                raise ObjectChangedError("The object became shorter while it was read: read it again")
            self._rest = block[count:]
            count -= len(block)

    def read(self, size: int) -> bytes:
        pieces, missing = [self._rest], size - len(self._rest)
        while missing > 0 and (block := next(self._blocks, b"")):
            pieces.append(block)
            missing -= len(block)
        content = b"".join(pieces)
        self._rest = content[size:]
        return content[:size]

    def check(self, found: FoundFile) -> None:
        """Do nothing: one response holds one version."""


def _found(response: Any) -> FoundFile:
    properties = response.properties.as_dict()
    return FoundFile({**properties, "size": properties["content_length"]})


def _is_missing(error: Exception) -> bool:
    return is_named(error, "ResourceNotFound")


def _status(error: Exception) -> object:
    return getattr(error, "status_code", None)


def _segments(url: str) -> list[str]:
    # Split before unescaping: a segment may hold an escaped slash.
    return [unquote(segment) for segment in urlsplit(url).path.split("/") if segment]
