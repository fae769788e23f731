"""HTTP grammar without I/O."""
