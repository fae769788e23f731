"""HTTP grammar without input or output."""
