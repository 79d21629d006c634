"""llmcore plugin: a cache on one or more memcached servers."""
