"""Who is compared: each contender is a small application, in the form that its documentation shows.

Every one takes a file, keeps it in a local folder, answers with what the file is called there, and gives it back. Those
with a row keep it in SQLite. `benchmarks.driver` runs each in a server process of its own.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ("ALCHEMY", "CONTENDERS", "OURS_BARE", "Contender", "is_installed")


@dataclass(frozen=True)
class Contender:
    """One way of storing and sending files."""

    name: str
    module: str
    """Module below `benchmarks.contenders` with ``create_app(folder, **variant)``."""
    variant: dict[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of ``create_app``."""
    server: Literal["uvicorn", "granian", "nginx", "own"] = "uvicorn"
    upload: Literal["form", "raw", "put"] = "form"
    """A multipart form, the bare bytes posted, or the bare bytes put to a name that the client chooses."""
    read: str = "/files/{id}"
    """Where a stored file is read."""
    ask: str = ""
    """Where to ask for the address that is read, if only the application knows it."""
    needs: tuple[str, ...] = ()
    """Packages that only this contender needs."""


_NO_COSTS = {"fsync": False, "digest": None}
OURS_BARE = "ours, no fsync, no digest"
"""What is compared with those that neither sync nor hash."""
ALCHEMY = ("Advanced Alchemy, obstore", "Advanced Alchemy, obstore, saved first")
"""Both ways of Advanced Alchemy with obstore; what is compared with it is compared with the better one."""
_FASTAPI = ("fastapi", "python_multipart")

CONTENDERS = {
    each.name: each
    for each in (
        Contender("raw ASGI", "raw_asgi", upload="raw"),
        Contender("raw ASGI, cold allocator", "raw_asgi", {"is_warm": False}, upload="raw"),
        Contender("raw ASGI, granian", "raw_asgi", server="granian", upload="raw"),
        Contender("raw ASGI, obstore", "raw_obstore", upload="raw"),
        Contender("raw ASGI, obstore, S3", "raw_obstore", {"is_remote": True}, upload="raw"),
        Contender("nginx", "", server="nginx", upload="put"),
        Contender("aiohttp", "aiohttp_app", server="own"),
        Contender("Litestar, row", "litestar_plain", read="/rows/{id}"),
        Contender("Litestar, File", "litestar_plain", ask="/names/{id}"),
        Contender("Litestar, row, plain response", "litestar_plain", read="/lookups/{id}"),
        Contender("Advanced Alchemy, obstore", "alchemy", {"library": "obstore"}),
        Contender("Advanced Alchemy, obstore, saved first", "alchemy", {"library": "obstore", "saves_first": True}),
        Contender("Advanced Alchemy, fsspec", "alchemy", {"library": "fsspec"}),
        Contender("FastAPI, sqlalchemy-file", "sqlalchemy_file_app", needs=(*_FASTAPI, "sqlalchemy_file")),
        Contender("FastAPI, fastapi-storages", "fastapi_storages_app", needs=(*_FASTAPI, "fastapi_storages")),
        Contender("Django, FileField", "django_app", needs=("django",)),
        Contender("ours", "ours", read="/rows/{id}"),
        Contender("ours, no digest", "ours", {"digest": None}, read="/rows/{id}"),
        Contender("ours, no fsync", "ours", {"fsync": False}, read="/rows/{id}"),
        Contender(OURS_BARE, "ours", _NO_COSTS, read="/rows/{id}"),
        Contender(f"{OURS_BARE}, no ledger", "ours", {**_NO_COSTS, "has_ledger": False}, read="/rows/{id}"),
        Contender("ours, granian", "ours", server="granian", read="/rows/{id}"),
        Contender("ours, FileDownload.of", "ours", _NO_COSTS, ask="/addresses/{id}"),
        Contender("ours, link", "ours", _NO_COSTS, ask="/links/{id}"),
        Contender("ours, row", "ours", _NO_COSTS, read="/rows/{id}"),
        Contender("ours, S3", "ours", {"digest": None, "store": "s3"}, read="/rows/{id}"),
        Contender("ours, S3, sha256", "ours", {"store": "s3"}, read="/rows/{id}"),
    )
}
"""All contenders by name."""


def is_installed(contender: Contender) -> bool:
    """Whether everything that the contender needs is there."""
    if contender.server == "nginx":
        return shutil.which("nginx") is not None
    return all(importlib.util.find_spec(package) is not None for package in contender.needs)
