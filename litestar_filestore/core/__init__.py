"""Stored files: keys, sources, backends, drivers, file objects. Knows no web framework and no database."""
