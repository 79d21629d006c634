"""The ledger `sqlite`. All processes of a machine share one file."""
