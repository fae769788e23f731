"""The base of the conformance tests: the forms in which each test runs, its event loop, and the part of implementors.

Nothing here needs a pytest plugin: a test is a coroutine function that `in_loop` turns into a plain function.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec

import pytest

from litestar_filestore.testing.halves import AsyncHalf, SyncHalf
from litestar_filestore.testing.leaks import assert_no_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import Capability
    from litestar_filestore.testing.spec import BackendSpec

__all__ = (
    "ALL_FORMS",
    "EACH_HALF_ONCE",
    "Form",
    "Harness",
    "async_forms",
    "async_once",
    "in_loop",
    "once_each",
    "require",
)

P = ParamSpec("P")

TEST_SECONDS = 60.0
"""A test that takes longer hangs."""


@dataclass(frozen=True)
class Form:
    """The half of a backend that a test uses, with or without a prefix."""

    is_async: bool
    has_prefix: bool

    def __str__(self) -> str:
        """Return the form as it stands in the names of tests."""
        return f"{'async' if self.is_async else 'sync'}-{'prefix' if self.has_prefix else 'bare'}"


ALL_FORMS = tuple(Form(is_async, has_prefix) for is_async in (True, False) for has_prefix in (False, True))
"""Both halves, with and without a prefix."""
EACH_HALF_ONCE = (Form(is_async=True, has_prefix=False), Form(is_async=False, has_prefix=True))
"""The async half bare and the sync half with a prefix."""

once_each = pytest.mark.parametrize("form", EACH_HALF_ONCE, indirect=True, ids=str)
"""For a slow test: two forms instead of four."""
async_forms = pytest.mark.parametrize("form", [form for form in ALL_FORMS if form.is_async], indirect=True, ids=str)
"""For a test of what only the async half has: cancellation, async sources."""

async_once = pytest.mark.parametrize("form", EACH_HALF_ONCE[:1], indirect=True, ids=str)
"""For the same where a prefix changes nothing."""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in its own event loop, close the backends it used, and check that nothing runs on afterwards."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        backends = [argument.backend for argument in kwargs.values() if isinstance(argument, AsyncHalf)]
        try:
            asyncio.run(_closing(test(*args, **kwargs), backends))
        finally:
            for backend in backends:
                backend.close()

    return run


async def _closing(test: Coroutine[Any, Any, None], backends: Sequence[StorageBackend]) -> None:
    try:
        async with asyncio.timeout(TEST_SECONDS):
            await test
    finally:
        for backend in backends:
            await backend.close_async()
    await assert_no_tasks()


def require(half: AsyncHalf, capability: Capability) -> None:
    """Skip the test, visibly, if the driver does not claim `capability`."""
    if capability not in half.backend.capabilities:
        pytest.skip(f"{half.backend.driver} on {half.backend.protocol} does not claim {capability.name}")


class Harness:
    """The part of `BackendConformance` that implementors of a driver supply, and the fixtures that are made of it.

    Override `spec`, or `make_backend` where a backend cannot be built in another process; the rest if it applies.
    """

    server_checks_signatures: ClassVar[bool] = True
    """``False`` for test servers that answer signed URLs without checking them; skips the tests of refusals."""
    server_creates_atomically: ClassVar[bool] = True
    """``False`` for test servers that look first and then write, unlike the real service; skips the race."""
    server_replaces_atomically: ClassVar[bool] = True
    """``False`` for servers that remove an object before they move another one to its name: readers may miss it."""
    server_dates_uploads: ClassVar[bool] = True
    """``False`` for test servers that report a wrong age of unfinished uploads; skips the test that needs it."""
    server_drops_parts: ClassVar[bool] = True
    """``False`` for servers that finish no object while there are parts of it that are not listed."""
    server_misses_uploads: ClassVar[bool] = True
    """``False`` for test servers that break when they are asked for an unfinished object that they do not know."""
    signed_put_headers: ClassVar[Mapping[str, str]] = {}
    """Headers that the store's protocol requires with every PUT to a signed URL."""
    refused_characters: ClassVar[str] = ""
    """Characters that the server misreads in a name: the driver must refuse keys that contain them."""
    folder_bytes: ClassVar[int] = 0
    """Bytes that the backend's own folder in the store, its slash included, adds to every key."""
    listed_objects: ClassVar[int] = 2_500
    """Objects that the test of long listings makes: more than two pages of the store."""

    def is_refused(self, name: str) -> bool:
        """Return whether the driver must refuse keys of that name."""
        return any(character in name for character in self.refused_characters)

    def require_checks(self, storage: AsyncHalf, capability: Capability) -> None:
        """Skip the test if the driver does not claim `capability`, or if the server believes every signature."""
        require(storage, capability)
        if not self.server_checks_signatures:
            pytest.skip("the server does not check signatures")

    def require_upload_ids(self) -> None:
        """Skip the test on servers that break when they do not know an unfinished object."""
        if not self.server_misses_uploads:
            pytest.skip("the server breaks when it does not know an unfinished object")

    @pytest.fixture
    def spec(self) -> BackendSpec | None:
        """Build the backend here and in a child process; ``None`` leaves out the tests that kill one."""
        return None

    @pytest.fixture
    def make_backend(self, spec: BackendSpec | None) -> Callable[[str | None], StorageBackend]:
        """Return a function from a prefix, or ``None``, to a backend; all of them may share one store."""
        if spec is None:
            raise NotImplementedError("override the fixture 'spec' or 'make_backend'")
        return spec.build

    @pytest.fixture
    def leftovers(self) -> Callable[[], Sequence[str]] | None:
        """Return a function that lists what interrupted puts left in the store's hidden places, if that is visible."""
        return None

    @pytest.fixture(params=ALL_FORMS, ids=str)
    def form(self, request: pytest.FixtureRequest) -> Form:
        """Return the form in which the test runs; override it with `EACH_HALF_ONCE` for slow servers."""
        form: Form = request.param
        return form

    @pytest.fixture
    def prefix(self, form: Form) -> str | None:
        """Return the prefix of the backend under test: a new one each time, or none."""
        return f"conformance/{secrets.token_hex(8)}" if form.has_prefix else None

    @pytest.fixture
    def storage(
        self, form: Form, prefix: str | None, make_backend: Callable[[str | None], StorageBackend]
    ) -> AsyncHalf:
        """Return the backend under test with a folder for this test alone."""
        half = AsyncHalf if form.is_async else SyncHalf
        return half(make_backend(prefix), f"test-{secrets.token_hex(8)}")
