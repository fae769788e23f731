"""Keeps links out of logs."""

from __future__ import annotations

import logging

from litestar_filestore.sansio.tokens import hide_tokens

__all__ = ("HideTokens",)


class HideTokens(logging.Filter):
    """Replaces the tokens of links and references in what is logged: who reads a log could use them while they live.

    A filter of handlers, not of loggers: those see the records of their own name only. It lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record that holds a token."""
        message = record.getMessage()
        hidden = hide_tokens(message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = hide_tokens(logging.Formatter().formatException(record.exc_info))
        return True
