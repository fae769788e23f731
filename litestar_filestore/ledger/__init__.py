"""The ledger: which objects are stored, whose they are, and what is to be deleted."""
