"""Batches: many requests as one run, which is stored in a file, so that it can be resumed after any end."""
