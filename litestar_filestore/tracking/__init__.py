"""Files in sessions: stored and settled at flushes, in bulk statements, and when transactions end."""
