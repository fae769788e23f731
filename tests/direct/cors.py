"""Lets pages of an origin upload to a bucket, by the command that operators run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from litestar import Litestar

from litestar_filestore import FilestoreConfig, FilestorePlugin, StorageBackend
from litestar_filestore.cli.cors import cors_command

__all__ = ("permit",)


def permit(backend: StorageBackend, origin: str, *, apply: bool) -> None:
    """Run ``litestar storages cors``, in a thread: a browser of the tests may have its loop in this one."""
    app = Litestar([], plugins=[FilestorePlugin(FilestoreConfig([backend], ledger=None))], openapi_config=None)
    assert cors_command.callback is not None
    with ThreadPoolExecutor(1) as threads:
        run = partial(cors_command.callback, app, as_json=False, key=backend.key, origin=origin, applies=apply)
        threads.submit(run).result()
