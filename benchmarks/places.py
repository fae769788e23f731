"""Where the benchmarks store: a folder, and an S3 server that is started for them."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.servers import ceph, moto
from tests.servers.processes import ServerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar_filestore.core.backend import StorageBackend
    from tests.servers.s3 import S3Server

__all__ = ("LOCAL", "STORES", "Place", "make_backend", "place_from_environment", "s3_options", "serve_place")

LOCAL = ("local", "local, fsspec name")
"""Stores that need no server."""
STORES = (*LOCAL, "S3, obstore", "S3, s3fs")
"""All stores, by the names that the tables show."""

_BUCKET = "benchmarks"
_VARIABLE = "BENCH_PLACE"


@dataclass(frozen=True)
class Place:
    """What a child process must know to reach the stores. Plain values, so that it travels as JSON."""

    folder: str
    """Folder for local objects."""
    server: str = "none"
    """Name of the S3 server, for the heading of a table."""
    endpoint: str = ""
    """URL of the S3 server; empty without one."""
    access_key: str = ""
    secret_key: str = ""
    region: str = ""

    def environment(self) -> dict[str, str]:
        """Return variables that `place_from_environment` reads."""
        return {_VARIABLE: json.dumps(self.as_dict())}

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)

    @property
    def bucket(self) -> str:
        """The bucket that was made for the benchmarks."""
        return _BUCKET


def place_from_environment() -> Place:
    """Return the place that the parent process has put into the environment."""
    return Place(**json.loads(os.environ[_VARIABLE]))


@contextmanager
def serve_place(*, with_s3: bool) -> Iterator[Place]:
    """Make an empty folder, and run Ceph (or moto, where Ceph is not installed) if S3 is wanted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="filestore-bench-")))
        objects = folder / "objects"
        objects.mkdir()
        if not with_s3:
            yield Place(str(objects))
            return
        name, server = _serve_s3(stack, folder)
        server.create_bucket(_BUCKET)
        yield Place(str(objects), name, server.endpoint, server.access_key, server.secret_key, server.region)


def _serve_s3(stack: ExitStack, folder: Path) -> tuple[str, S3Server]:
    try:
        return "Ceph", stack.enter_context(ceph.serve(_new(folder / "ceph")))
    except ServerMissingError:
        return "moto", stack.enter_context(moto.serve(_new(folder / "moto")))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def s3_options(place: Place) -> dict[str, Any]:
    """Return obstore's options for the S3 server of `place`."""
    return {
        "aws_access_key_id": place.access_key,
        "aws_secret_access_key": place.secret_key,
        "aws_region": place.region,
        "aws_endpoint": place.endpoint,
        "client_options": {"allow_http": True},
    }


def make_backend(store: str, place: Place, **options: Any) -> StorageBackend:
    """Return a backend on one of `STORES`; `options` go to its constructor.

    Imports are here so that a child process holds the libraries of its own store only.
    """
    if store == "local":
        from litestar_filestore.backends.local.local_backend import LocalBackend

        return LocalBackend("bench", place.folder, **options)
    if store == "S3, obstore":
        from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

        return ObstoreBackend(key="bench", fs=f"s3://{place.bucket}/", **s3_options(place), **options)
    from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

    if store == "local, fsspec name":
        return FSSpecBackend(key="bench", fs="file", prefix=place.folder, **options)
    return FSSpecBackend(key="bench", fs=_s3fs(place), prefix=place.bucket, **options)


def _s3fs(place: Place) -> Any:
    import fsspec

    return fsspec.filesystem(
        "s3",
        key=place.access_key,
        secret=place.secret_key,
        endpoint_url=place.endpoint,
        client_kwargs={"region_name": place.region},
    )
