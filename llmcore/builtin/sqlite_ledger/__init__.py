"""The ledger `sqlite`: one file for all processes of a machine."""
