"""Everything for chats: requests, cache keys, streams, fallback, batches and the client."""
