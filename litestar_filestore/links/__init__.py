"""Signed links to this application: their content, their signatures, and the routes that serve them."""
