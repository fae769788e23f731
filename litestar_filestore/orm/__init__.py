"""Files in SQLAlchemy models."""
