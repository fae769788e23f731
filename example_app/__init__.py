"""A small document store: what an application with litestar-filestore looks like."""
