"""The ledger records the usage and cost of every request, and enforces budgets."""
