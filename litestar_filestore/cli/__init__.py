"""The commands of ``litestar storages``."""
