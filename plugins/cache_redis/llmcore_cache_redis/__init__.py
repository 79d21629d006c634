"""llmcore plugin: a cache in Redis, standalone, with Sentinel or in a Cluster. Timeouts limit how long a call waits for a failing server."""
