"""What may travel with an object to a store: content types and user metadata as every store can keep them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from litestar_filestore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("check_content_type", "portable_metadata")

_MAX_CONTENT_TYPE = 255
_CONTENT_TYPE = re.compile(r"[!-~]+/[!-~]+(?:[ \t]*;[ -~]*)?")
_OUTER_SPACES = re.compile(r"^ +| +$")
_METADATA_NAME = re.compile(r"[a-z0-9_-]{1,128}")


def check_content_type(content_type: str | None) -> str | None:
    """Return `content_type` if it is ``type/subtype`` with optional parameters, in printable ASCII (RFC 9110 §8.3.1).

    Raises:
        InvalidArgumentError: For anything else. CR and LF would start a header of their own, and they make obstore
            panic.
    """
    if content_type is not None and (
        len(content_type) > _MAX_CONTENT_TYPE or _CONTENT_TYPE.fullmatch(content_type) is None
    ):
        raise InvalidArgumentError(f"{content_type[:80]!r} is not a media type such as 'image/png'")
    return content_type


def portable_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return user metadata in the form that every store keeps: lower-case names, printable ASCII values.

    Values that are not text are written as JSON. Non-ASCII text, control characters and ``%`` are percent-encoded as
    UTF-8: S3 accepts raw non-ASCII values and then answers every read of the object with an error. So are spaces at
    the ends, which belong to no header (RFC 9110 §5.5). Names with other characters than ``[a-z0-9_-]`` stay in the
    database only, as do names that are taken for real headers (``content-type`` ...): user metadata must not decide
    how an object is served.
    """
    result: dict[str, str] = {}
    for name, value in metadata.items():
        lowered = name.lower()
        if _METADATA_NAME.fullmatch(lowered) is None or lowered.startswith(("content-", "cache-control", "x-")):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        encoded = quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
        result[lowered] = _OUTER_SPACES.sub(lambda spaces: "%20" * len(spaces[0]), encoded)
    return result
