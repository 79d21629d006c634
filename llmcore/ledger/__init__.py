"""The ledger: usage and cost of every request, and the budgets that limit them."""
