"""What is measured: who does what, how often, and which contender is the 1 of the ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.contenders import ALCHEMY, OURS_BARE

__all__ = ("FULL", "GIGABYTE", "QUICK", "S3_FULL", "S3_QUICK", "Case")

KILOBYTE = 1024
MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE


@dataclass(frozen=True)
class Case:
    """One piece of work for several contenders."""

    name: str
    action: Literal["upload", "download", "range", "304", "documents"]
    size: int
    contenders: tuple[str, ...]
    base: str = "raw ASGI"
    connections: int = 1
    requests: int = 1
    """In one round."""
    rounds: int = 4
    seconds: float = 0.6
    """A round ends earlier after this long."""


_BARE = ("raw ASGI", "raw ASGI, cold allocator", "raw ASGI, granian", "nginx", "aiohttp")
_PEERS = (
    "Litestar, row",
    *ALCHEMY,
    "Advanced Alchemy, fsspec",
    "FastAPI, sqlalchemy-file",
    "FastAPI, fastapi-storages",
    "Django, FileField",
)
_OURS = ("ours", "ours, no digest", "ours, no fsync", OURS_BARE, f"{OURS_BARE}, no ledger", "ours, granian")
_OURS_OUT = ("ours, row", "ours, FileDownload.of", "ours, link")
_LITESTAR_OUT = ("Litestar, File", "Litestar, row", "Litestar, row, plain response")
_UPLOADS = (*_BARE, "raw ASGI, obstore", *_PEERS, *_OURS)
_DOWNLOADS = (*_BARE, "raw ASGI, obstore", *_LITESTAR_OUT, *_PEERS[1:], *_OURS_OUT, "ours, granian")
# Those of the targets, for sizes where the others take long.
_FEW_UPLOADS = ("raw ASGI", "Litestar, row", *_OURS[:4])
_FEW_DOWNLOADS = ("raw ASGI", "nginx", "Litestar, File", *_OURS_OUT)
# Those that answer conditions, and ranges; the others send the whole file.
_CONDITIONAL = (*_BARE, *_OURS_OUT, "ours, granian")
_RANGED = (*_CONDITIONAL, "FastAPI, sqlalchemy-file", "FastAPI, fastapi-storages")

_UPLOAD_1KB = Case("upload 1 KB", "upload", KILOBYTE, _UPLOADS, requests=150)
_UPLOAD_10MB = Case("upload 10 MB", "upload", 10 * MEGABYTE, _UPLOADS, requests=4)
_UPLOAD_1GB = Case("upload 1 GB", "upload", GIGABYTE, _FEW_UPLOADS, rounds=2)
_DOWNLOAD_1KB = Case("download 1 KB", "download", KILOBYTE, _DOWNLOADS, requests=250)
_RANGE = Case("range of 1 MB", "range", 64 * MEGABYTE, _RANGED, requests=100)
_NOT_MODIFIED = Case("304", "304", KILOBYTE, _CONDITIONAL, requests=300)
_DOWNLOAD_1GB = Case("download 1 GB", "download", GIGABYTE, _FEW_DOWNLOADS, rounds=3)
_DOCUMENTS = Case("1,000 rows to JSON", "documents", 0, ("Litestar, row", OURS_BARE), base="Litestar, row", requests=4)


def _at(case: Case, connections: int, *, requests: int | None = None, rounds: int | None = None) -> Case:
    return replace(
        case,
        name=f"{case.name}, {connections} connections",
        connections=connections,
        requests=requests or case.requests,
        rounds=rounds or case.rounds,
    )


QUICK = (
    _UPLOAD_1KB,
    _at(_UPLOAD_1KB, 32, requests=320),
    replace(_UPLOAD_10MB, contenders=(*_FEW_UPLOADS, "nginx", "aiohttp", ALCHEMY[0], *_PEERS[4:])),
    _at(replace(_UPLOAD_10MB, contenders=_FEW_UPLOADS), 8, requests=16),
    _UPLOAD_1GB,
    _DOWNLOAD_1KB,
    _RANGE,
    _NOT_MODIFIED,
    _DOWNLOAD_1GB,
    _DOCUMENTS,
)
"""What takes minutes."""

_ALL = (
    replace(_UPLOAD_1KB, rounds=8),
    _at(_UPLOAD_1KB, 8, requests=320, rounds=6),
    _at(_UPLOAD_1KB, 32, requests=640, rounds=6),
    replace(_UPLOAD_10MB, rounds=6),
    _at(_UPLOAD_10MB, 8, requests=16, rounds=6),
    _at(_UPLOAD_10MB, 32, requests=64),
    replace(_UPLOAD_1GB, contenders=_UPLOADS, rounds=3),
    _at(_UPLOAD_1GB, 8, requests=8),
    replace(_DOWNLOAD_1KB, rounds=8),
    _at(_DOWNLOAD_1KB, 32, requests=640, rounds=6),
    replace(_RANGE, size=GIGABYTE, rounds=6),
    _at(replace(_RANGE, size=GIGABYTE), 8),
    replace(_NOT_MODIFIED, rounds=6),
    replace(_DOWNLOAD_1GB, contenders=_DOWNLOADS, rounds=3),
    _at(_DOWNLOAD_1GB, 8, requests=8, rounds=2),
    replace(_DOCUMENTS, rounds=6),
)
FULL = tuple(replace(each, seconds=2.0) for each in _ALL)
"""All sizes and numbers of connections."""

_S3 = ("ours, S3", "raw ASGI, obstore, S3", "ours, S3, sha256")
S3_QUICK = (
    Case("S3 upload 256 MB", "upload", 256 * MEGABYTE, _S3, base="obstore alone", rounds=3),
    Case("S3 download 256 MB", "download", 256 * MEGABYTE, _S3[:2], base="obstore alone", rounds=3),
)
S3_FULL = (
    Case("S3 upload 1 GB", "upload", GIGABYTE, _S3, base="obstore alone"),
    Case("S3 download 1 GB", "download", GIGABYTE, _S3[:2], base="obstore alone"),
)
