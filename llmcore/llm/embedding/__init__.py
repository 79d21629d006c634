"""Embeddings: divide a list of texts into requests for the pipeline, and combine the vectors."""
