"""A ledger in PostgreSQL, for processes on many machines."""
