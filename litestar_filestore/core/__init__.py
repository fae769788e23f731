"""What a stored file is: keys, sources, backends, drivers, file objects. Knows no web framework and no database."""
