"""Routers that serve a file column or a whole backend."""
