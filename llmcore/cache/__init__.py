"""Caches for applications: CacheManager, the shared default, and what calls use underneath."""

from llmcore.cache.manager import CacheManager
from llmcore.cache.shared import get_cache
from llmcore.cache.store import CacheStore

__all__ = ["CacheManager", "CacheStore", "get_cache"]
