"""The documentation is run: every Python block of every page."""
