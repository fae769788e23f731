"""What the environment says about where documents live."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Self

from litestar_filestore import ObstoreBackend, StorageBackend

DEFAULT_MAX_BYTES = 10**9


@dataclass(frozen=True)
class Settings:
    """Where rows and files are kept. Without any variable set, in the folder ``data`` beside this module."""

    database_url: str
    """SQLAlchemy's URL with an async driver."""
    filestore_url: str
    """``file:///folder``, ``s3://bucket/folder``, ``gs://...`` or ``az://...``."""
    s3_endpoint: str | None = None
    """URL of an S3 server that is not Amazon's."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Largest file in bytes."""
    secret: str = field(default_factory=token_urlsafe, repr=False)
    """What signs links. A random one lasts as long as the process, and suits a single one."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read DATABASE_URL, FILESTORE_URL, FILESTORE_DATA, FILESTORE_MAX_BYTES, FILESTORE_SECRET and AWS_ENDPOINT_URL.

        Credentials for S3 come from the usual AWS_* variables; the storage library reads those itself.
        """
        data = Path(environment.get("FILESTORE_DATA") or Path(__file__).with_name("data")).resolve()
        if "DATABASE_URL" not in environment:
            data.mkdir(parents=True, exist_ok=True)  # SQLite makes files, not folders
        return cls(
            database_url=environment.get("DATABASE_URL", f"sqlite+aiosqlite:///{data / 'documents.sqlite'}"),
            filestore_url=environment.get("FILESTORE_URL", (data / "files").as_uri()),
            s3_endpoint=environment.get("AWS_ENDPOINT_URL"),
            max_bytes=int(environment.get("FILESTORE_MAX_BYTES", DEFAULT_MAX_BYTES)),
            secret=environment.get("FILESTORE_SECRET") or token_urlsafe(),
        )

    def backend(self) -> StorageBackend:
        """Make the backend for documents."""
        options: dict[str, Any] = {}
        if self.filestore_url.startswith("s3://") and self.s3_endpoint is not None:
            # An endpoint without TLS has to be allowed on purpose; naming one is the purpose.
            options["client_options"] = {"allow_http": self.s3_endpoint.startswith("http://")}
        return ObstoreBackend("documents", self.filestore_url, max_bytes=self.max_bytes, **options)
