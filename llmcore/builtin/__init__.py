"""The built-in backends: language model `echo`, cache `memory`, cache `file`, ledger `sqlite`."""
