"""The element for pages, ``<filestore-upload>``: a script for browsers, and the route that serves it."""
