"""What llmcore costs, measured against its peers: `python -m benchmarks [row ...]`."""
