"""Measurements that print: ``make bench`` runs them, docs/performance.md shows what they said."""
