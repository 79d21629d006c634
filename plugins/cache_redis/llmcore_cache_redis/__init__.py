"""llmcore plugin: a cache in Redis, standalone, with Sentinel or in a Cluster. A failing server never delays a call."""
