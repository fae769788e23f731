"""Files in sessions: stores and settles them in flushes, in bulk statements, and when transactions end."""
