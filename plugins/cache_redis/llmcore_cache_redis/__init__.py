"""llmcore plugin: a cache in Redis, alone, under Sentinel or in a Cluster, that never holds a call up."""
