"""One library of storage per file."""
