"""What a session does to files: at its flushes, in bulk statements, and when its transaction ends."""
