"""Embeddings: a list of texts becomes requests of the pipeline, and their vectors one result."""
