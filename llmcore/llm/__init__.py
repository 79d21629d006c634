"""The life of a chat: request, key, exchange, stream, fallback, client."""
