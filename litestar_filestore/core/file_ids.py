"""Ids of files in lists: what clients call a file while others come, go and move."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b32encode

__all__ = ("file_id_of", "is_file_id", "new_file_id")

_ID = re.compile(r"[a-z2-7]{16}")
_BYTES = 10  # 16 characters; an id has to be unique in one list only


def new_file_id() -> str:
    """Return an id for a file that gets into a list: 80 random bits, which tell nothing about the file."""
    return _text(secrets.token_bytes(_BYTES))


def file_id_of(key: str, occurrence: int = 0) -> str:
    """Return the id of a file whose row has none, as rows of Advanced Alchemy do: the same each time it is loaded.

    Args:
        key: Key of its object.
        occurrence: How many files of the list have the same key and come before it; such rows may hold one twice.
    """
    named = f"{occurrence}\0{key}".encode()
    return _text(hashlib.blake2b(named, digest_size=_BYTES, person=b"filestore/id").digest())


def is_file_id(text: str) -> bool:
    """Return whether a text has the form of an id. No reference has it."""
    return _ID.fullmatch(text) is not None


def _text(value: bytes) -> str:
    return b32encode(value).decode().lower()
