"""A document library: what an application with litestar-filestore looks like.

Read `models` first, then `documents` (the JSON interface), then `app`, which puts everything together.
"""
