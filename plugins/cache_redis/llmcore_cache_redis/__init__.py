"""llmcore plugin: a cache in Redis, standalone, with Sentinel or in a Cluster. A call waits for a failing server at most for the timeouts."""
