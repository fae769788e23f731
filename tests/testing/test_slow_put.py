"""The process that is killed in the middle of a put."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.testing.conformance_crash import kill_in_mid_put
from litestar_filestore.testing.spec import BackendSpec

LOCAL = "litestar_filestore.backends.local.local_backend:LocalBackend"


def order(root: Path, **changes: Any) -> str:
    """Write the line that the process reads."""
    options = {"key": "documents", "root": str(root)}
    return json.dumps(
        {"factory": LOCAL, "options": options, "prefix": "p", "key": "a", "size": 100, "is_async": True, **changes}
    )


def test_spec_builds_the_backend(tmp_path: Path) -> None:
    """A spec makes a backend with the prefix that is asked for."""
    backend = BackendSpec(LOCAL, {"key": "documents", "root": str(tmp_path)}).build("p")
    assert isinstance(backend, LocalBackend)
    assert (backend.key, backend.prefix) == ("documents", "p")


def test_spec_shows_no_credentials() -> None:
    """The options of a backend may be credentials, and tests print their arguments."""
    assert "hunter2" not in repr(BackendSpec(LOCAL, {"password": "hunter2"}))


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_process_is_killed_before_the_end_of_the_put(tmp_path: Path, *, is_async: bool) -> None:
    """The process has begun its put when it is killed, and has not come to its end."""
    kill_in_mid_put(order(tmp_path, is_async=is_async, size=3_000_000))
    assert not (tmp_path / "p" / "a").exists()


def test_process_that_fails_says_why(tmp_path: Path) -> None:
    """A backend that cannot be built in the process is not taken for one that was killed."""
    with pytest.raises(AssertionError, match="NoSuchBackend"):
        kill_in_mid_put(order(tmp_path, factory="litestar_filestore.backends.local.local_backend:NoSuchBackend"))
