"""What the environment says about where documents live."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from tempfile import NamedTemporaryFile
from typing import Any, Self

from litestar_filestore import ObstoreBackend, StorageBackend

DEFAULT_MAX_BYTES = 10**10
DEFAULT_TRASH_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Settings:
    """Where rows and files are kept. Without any variable set, in the folder ``data`` beside this module."""

    database_url: str
    """SQLAlchemy's URL with an async driver."""
    filestore_url: str
    """``file:///folder``, ``s3://bucket/folder``, ``gs://...`` or ``az://...``."""
    s3_endpoint: str | None = None
    """URL of an S3 server that is not Amazon's."""
    bucket_origin: str | None = None
    """Scheme, host and port to which browsers put files themselves; without it, the application takes them."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Largest file in bytes."""
    trash_seconds: float = DEFAULT_TRASH_SECONDS
    """How long a deleted document can be brought back."""
    secret: str = field(default_factory=token_urlsafe, repr=False)
    """What signs links and references of uploads: the same in all processes."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read DATABASE_URL, FILESTORE_URL, AWS_ENDPOINT_URL and FILESTORE_DATA, _MAX_BYTES, _TRASH_SECONDS, _SECRET.

        FILESTORE_BUCKET_ORIGIN lets browsers put files into the bucket, whose CORS has to permit the pages' origin.
        Credentials for S3 come from the usual AWS_* variables; the storage library reads those itself.
        """
        data = Path(environment.get("FILESTORE_DATA") or Path(__file__).with_name("data")).resolve()
        data.mkdir(parents=True, exist_ok=True)  # SQLite makes files, not folders
        return cls(
            database_url=environment.get("DATABASE_URL", f"sqlite+aiosqlite:///{data / 'library.sqlite'}"),
            filestore_url=environment.get("FILESTORE_URL", (data / "library").as_uri()),
            s3_endpoint=environment.get("AWS_ENDPOINT_URL"),
            bucket_origin=environment.get("FILESTORE_BUCKET_ORIGIN"),
            max_bytes=int(environment.get("FILESTORE_MAX_BYTES", DEFAULT_MAX_BYTES)),
            trash_seconds=float(environment.get("FILESTORE_TRASH_SECONDS", DEFAULT_TRASH_SECONDS)),
            secret=environment.get("FILESTORE_SECRET") or kept_secret(data / "secret"),
        )

    def backend(self) -> StorageBackend:
        """Make the backend for documents."""
        options: dict[str, Any] = {}
        if self.filestore_url.startswith("s3://") and self.s3_endpoint is not None:
            # An endpoint without TLS has to be allowed on purpose; naming one is the purpose.
            options["client_options"] = {"allow_http": self.s3_endpoint.startswith("http://")}
        return ObstoreBackend("documents", self.filestore_url, max_bytes=self.max_bytes, **options)


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which is made first if it is missing.

    A secret for each process would make each worker refuse the links of the others. Several hosts need the variable.
    """
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent) as new:  # readable for its owner only
            new.write(token_urlsafe(32))
            new.flush()
            # A link appears whole or not at all, so of two workers that start together both read the same secret.
            with suppress(FileExistsError):
                path.hardlink_to(new.name)
    return path.read_text()
