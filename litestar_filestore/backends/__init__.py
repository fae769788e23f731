"""Drivers and their backends, a package for each library; `memory` for objects in this process."""
