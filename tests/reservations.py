"""Entries that are written ahead: tests that count the entries of a ledger want none."""

from __future__ import annotations

from litestar_filestore.ledger import reserves

__all__ = ("WINDOW", "switch_off")

WINDOW = "_WINDOW_SECONDS"
"""The time for which uploads are counted; nothing is written ahead if none is."""


def switch_off() -> None:
    """Write no entries ahead in this process; for the applications that tests start in processes of their own."""
    setattr(reserves, WINDOW, -1.0)
