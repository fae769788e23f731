"""Signed links to this application: what they say, who signs them, and the routes that serve them."""
