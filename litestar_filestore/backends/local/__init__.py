"""Files on a disk of this machine."""
