"""Uploads: forms, single parts and raw bodies that stream into a backend, and the limits that refuse them."""
