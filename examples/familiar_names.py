"""The names that existing code of this family uses: CacheManager, get_cache, OptimizedOpenAIProvider.

Needs OPENAI_API_KEY; OPENAI_BASE_URL leads to another server.
"""

from llmcore.cache import CacheManager, get_cache
from llmcore_openai_optimized import OptimizedOpenAIProvider

cache = CacheManager(backend="file", cache_dir="./cache")


@cache.cached(ttl=3600)
def expensive_operation(x: int) -> int:
    """Stand in for slow work."""
    return x * x


print(expensive_operation(12), expensive_operation(12), cache.get_stats())
cache.set("user:1", {"name": "Ann"}, ttl=60)
print(cache.get("user:1"), cache.delete("user:1"), cache.get("user:1"))
cache.set("user:2", {"name": "Ben"})
cache.invalidate("user:*")
cache.clear_stats()
print(cache.get("user:2"), get_cache() is get_cache())

messages = [{"role": "user", "content": "Hello"}]
provider = OptimizedOpenAIProvider(
    model="gpt-4o-mini", enable_cache=True, cache_ttl=3600, cache_backend="file", pricing_tier="standard"
)
print(provider.count_tokens("Hello world"), provider.count_messages_tokens(messages))
print(provider.estimate_cost(100, 50), provider.compare_pricing_tiers(1000, 500))
print(provider.generate_completion("Write a haiku", temperature=0.9, max_tokens=100))
print(provider.generate_chat(messages))
print(provider.get_usage_stats())
provider.reset_stats()
print(provider.model_name)
