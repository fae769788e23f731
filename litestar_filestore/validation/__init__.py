"""Rules for uploaded files."""
