"""Proves what a backend can do, by doing it to a small object of its own."""

from __future__ import annotations

import secrets
import time
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from litestar_filestore.cli.policies import least_policy, permission_for
from litestar_filestore.cli.reports import BackendCheck, Step
from litestar_filestore.core.threads import run_blocking, within
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ObjectNotFoundError,
    StorageError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("place_of", "probe")

_PROBE_BYTES = 64 * 1024
"""More than a full disk has left in its last block."""
_FOLDER = "filestore-check"
"""First segment of the keys. Not the reserved one: if this process is killed, `fsck` finds the probe and removes it."""
_ESSENTIAL = frozenset({"put", "read", "range", "delete"})
"""Steps that every store has to be able to do."""
_CLOSE_SECONDS = 5.0

_ADVICE = (
    (
        ("dns error", "name resolution", "Name or service not known", "getaddrinfo", "nodename nor"),
        "The name of the host is not known: check the endpoint of the backend",
    ),
    (
        ("Connection refused", "Errno 111", "Connect call failed"),
        "Nothing listens at that host and port: check the endpoint of the backend, and that the store runs",
    ),
    (
        ("certificate", "CERTIFICATE", "SSL"),
        "The connection is not secure: check the certificate of the store, and http or https in the endpoint",
    ),
)
"""What the texts of libraries mean. They contain URLs and requests, so they are not shown."""


async def probe(backend: StorageBackend, *, seconds: float = 30.0) -> BackendCheck:
    """Start a backend, put, read, list, sign and delete an object of its own, and close the backend.

    Nothing is raised for a store that does not work, and the object is removed in any case, if the store lets us.

    Args:
        backend: The backend; not started.
        seconds: How long each step may take.
    """
    run = _Probe(backend, seconds)
    try:
        await run.all()
    finally:
        with suppress(Exception):  # what matters is known by now
            await within(_CLOSE_SECONDS, backend.close_async())
    place = place_of(backend)
    ok = all(step.outcome != "failed" for step in run.steps)
    lacks = any(step.error == AccessDeniedError.__name__ for step in run.steps)
    return BackendCheck(
        key=backend.key,
        service=backend.protocol,
        library=backend.driver,
        place=place,
        ok=ok,
        steps=run.steps,
        policy=least_policy(backend.protocol, place) if lacks else None,
        left_behind=run.left_behind,
    )


def place_of(backend: StorageBackend) -> str:
    """Return the bucket or folder of a backend with its prefix, as far as it is known."""
    with suppress(StorageError):  # credentials that cannot be read, for example
        return "/".join(filter(None, (backend.storage_driver.place.rstrip("/"), backend.prefix)))
    return backend.prefix or ""


class _Skipped(Exception):  # noqa: N818  # no error
    """A step cannot be tried."""


class _Probe:
    def __init__(self, backend: StorageBackend, seconds: float) -> None:
        self._backend = backend
        self._seconds = seconds
        self._folder = f"{_FOLDER}/{secrets.token_hex(8)}"
        self._key = f"{self._folder}/probe.txt"
        size = _PROBE_BYTES if backend.max_bytes is None else min(_PROBE_BYTES, backend.max_bytes)
        self._content = secrets.token_bytes(size)
        self._is_stored = False
        self._other: str | None = None
        self.steps: list[Step] = []
        self.left_behind: str | None = None

    async def all(self) -> None:
        """Do all steps. If the store cannot be used at all, the first one says why, and the others are not tried."""
        if not await self._step("reach", self._reach):
            self.steps += [
                Step(name=name, outcome="skipped", reason="the store cannot be used")
                for name in ("put", "read", "range", "list", "sign", "delete")
            ]
            return
        try:
            self._is_stored = await self._step("put", self._put)
            if not self._is_stored:
                await self._find_other()
            await self._step("read", self._read)
            await self._step("range", self._read_range)
            await self._step("list", self._list)
            await self._step("sign", self._sign)
        finally:
            # Also after a put that failed: it may have been stored all the same, and the permission is still to prove.
            if not await self._step("delete", self._delete) and self._is_stored:
                self.left_behind = self._key

    async def _step(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        began = time.monotonic()
        try:
            await within(self._seconds, work())
        except _Skipped as skipped:
            step = Step(name=name, outcome="skipped", reason=str(skipped))
        except UnsupportedOperationError as error:
            step = self._failed(name, error)
            if name not in _ESSENTIAL:
                step = Step(name=name, outcome="unsupported", reason=error.detail)
        except Exception as error:  # noqa: BLE001  # a check is there to report what a driver does wrong
            step = self._failed(name, error)
        else:
            step = Step(name=name, outcome="ok", seconds=round(time.monotonic() - began, 4))
        self.steps.append(step)
        return step.outcome == "ok"

    def _failed(self, name: str, error: Exception) -> Step:
        reason = error.detail if isinstance(error, StorageError) else f"{type(error).__name__} in the driver"
        if isinstance(error, TimeoutError):
            reason = f"The store did not answer within {self._seconds:g} s: check the endpoint of the backend"
        elif isinstance(error, BackendUnavailableError):
            reason = _advice(error) or reason
        elif isinstance(error, ObjectNotFoundError) and name in {"put", "list"}:
            reason = "The bucket, container or folder does not exist: create it, or correct the backend's URL"
        denied = isinstance(error, AccessDeniedError)
        return Step(
            name=name,
            outcome="failed",
            reason=reason,
            error=type(error).__name__,
            permission=permission_for(self._backend.protocol, name) if denied else None,
        )

    async def _reach(self) -> None:
        # A refusal is not the end: which operation is refused is what the other steps find out.
        with suppress(AccessDeniedError):
            await self._backend.start_async()

    async def _put(self) -> None:
        await self._backend.put_async(self._content, key=self._key, content_type="text/plain", overwrite=True)

    async def _find_other(self) -> None:
        """Find an object to read where none can be stored."""
        with suppress(Exception):  # the step of its own says why
            self._other = await within(self._seconds, self._first_key())

    async def _first_key(self) -> str | None:
        async with aclosing(self._backend.list_async()) as infos:
            async for info in infos:
                if info.size:
                    return info.key
        return None

    async def _read(self) -> None:
        if self._is_stored:
            if await self._bytes(0, None) != self._content:
                raise StorageError("Other bytes came back than were stored: the store, or a proxy before it, is broken")
        elif self._other is not None:
            await self._bytes(0, 1)
        else:
            await self._read_missing()

    async def _read_missing(self) -> None:
        """Read what does not exist: an account that may read and list is told so."""
        try:
            await self._bytes(0, None)
        except ObjectNotFoundError as error:
            raise _Skipped("there is no object to read, and none could be stored") from error

    async def _read_range(self) -> None:
        if not self._is_stored:
            raise _Skipped("no object could be stored")
        start, end = len(self._content) // 2, len(self._content) // 2 + 16
        if await self._bytes(start, end) != self._content[start:end]:
            raise StorageError("Other bytes came back than were asked for: the store, or a proxy, ignores ranges")

    async def _bytes(self, start: int, end: int | None) -> bytes:
        key = self._key if self._other is None else self._other
        async with aclosing(self._backend.get_async(key, start, end)) as blocks:
            return b"".join([block async for block in blocks])

    async def _list(self) -> None:
        if not self._is_stored:
            await self._first_key()
            return
        async with aclosing(self._backend.list_async(self._folder)) as infos:
            if self._key not in [info.key async for info in infos]:
                raise StorageError("A listing does not show the object that was just stored: fsck would miss it")

    async def _sign(self) -> None:
        if Capability.SIGN_GET not in self._backend.capabilities:
            raise UnsupportedOperationError("The store has no links of its own; the application's own are used")
        if not self._is_stored:
            raise _Skipped("no object could be stored")
        url = cast("str", await self._backend.sign_async(self._key, expires_in=60))
        await run_blocking(partial(self._fetch, url))

    def _fetch(self, url: str) -> None:
        """Download by a link as a browser would: without credentials."""
        if not url.startswith(("http://", "https://")):
            raise StorageError("The link that the store signs is not one for browsers: check the endpoint")
        try:
            with urlopen(Request(url), timeout=self._seconds) as answer:  # noqa: S310  # checked above
                got = answer.read()
        except HTTPError as error:
            error.close()
            kind = AccessDeniedError if error.code in {401, 403} else StorageError
            raise kind(
                f"The store answers its own signed link with {error.code}: check the clock of this machine, and what "
                "the account may do"
            ) from None
        except URLError as error:
            raise _Skipped(f"the link cannot be fetched from here: {type(error.reason).__name__}") from None
        if got != self._content:
            raise StorageError("Other bytes came back by the signed link: something before the store changes them")

    async def _delete(self) -> None:
        await self._backend.delete_async(self._key)
        exists = False
        with suppress(AccessDeniedError, UnsupportedOperationError):  # who may not read cannot look
            exists = await self._backend.exists_async(self._key)
        if exists:
            raise StorageError("The object is still there after its delete: does the bucket keep what is deleted?")


def _advice(error: BaseException) -> str | None:
    """Return what the causes of an error say, in our words."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        said = f"{type(cause).__name__} {cause}"
        for phrases, advice in _ADVICE:
            if any(phrase in said for phrase in phrases):
                return advice
        cause = cause.__cause__ or cause.__context__
    return None
