"""The names that the author of a driver needs; `Driver` says what a driver and its callers owe each other.

The errors that a driver raises are in `litestar_filestore.errors`, the tests that define one in
`litestar_filestore.testing`.
"""

from __future__ import annotations

from litestar_filestore.core.driver import Driver, ObjectVersion, translate_os_error
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import (
    BLOCK_BYTES,
    Block,
    Capability,
    FormPolicy,
    ObjectInfo,
    Part,
    PartBuffers,
    PartLimits,
    PutOptions,
    SignedAnswer,
    SignedForm,
    SignMethod,
)

__all__ = (
    "BLOCK_BYTES",
    "Block",
    "Capability",
    "Driver",
    "FormPolicy",
    "ObjectInfo",
    "ObjectVersion",
    "Part",
    "PartBuffers",
    "PartLimits",
    "PutOptions",
    "SignMethod",
    "SignedAnswer",
    "SignedForm",
    "run_blocking",
    "translate_os_error",
)
