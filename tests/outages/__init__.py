"""Applications of which a part of the world is gone, by a fault proxy in front of real servers."""
