"""Batches: many requests as one run. The run is stored in a file and can be resumed, even after a crash."""
