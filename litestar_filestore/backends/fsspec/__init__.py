"""File systems of fsspec: a module for each that needs requests of its own, and two for all others."""
