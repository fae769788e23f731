"""Keeps links out of logs."""

from __future__ import annotations

import logging

from litestar_filestore.sansio.tokens import hide_tokens

__all__ = ("HideTokens",)


class HideTokens(logging.Filter):
    """Replaces the tokens of links and references in log records: readers of a log could use them while they are valid.

    Add it to handlers, not to loggers: a logger's filter sees only records of that logger. It lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record that contains a token."""
        message = record.getMessage()
        hidden = hide_tokens(message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = hide_tokens(logging.Formatter().formatException(record.exc_info))
        return True
