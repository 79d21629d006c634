"""Measure the cost of llmcore and of comparable libraries: `python -m benchmarks [row ...]`."""
