"""What backends promise, one module a kind.

Each promise is a small Protocol. The `must` of a kind is one of its first two, sync or async; every other is an
ability that a backend may have, and that the host looks for by its methods.
"""

from llmcore.contracts.cache import (
    AsyncCacheProvider,
    CacheBatches,
    CacheChanges,
    CacheKeys,
    CacheLeases,
    CacheMatching,
    CacheProvider,
    CacheVersion,
)
from llmcore.contracts.llm import (
    AsyncLLMProvider,
    AsyncModelListing,
    AsyncStreamingLLMProvider,
    LLMProvider,
    ModelLifetimes,
    ModelListing,
    PricingProvider,
    StreamingLLMProvider,
    TokenCounter,
    UsageBounds,
)
from llmcore.contracts.storage import (
    AsyncFileSystemProvider,
    AsyncStorageProvider,
    FileSystemProvider,
    StorageProvider,
)
from llmcore.contracts.voice import (
    AsyncVoiceCloningProvider,
    AsyncVoiceModels,
    AsyncVoiceProvider,
    AsyncVoiceSearch,
    AsyncVoiceStreaming,
    AsyncVoiceTimestamps,
    VoiceCloningProvider,
    VoiceModels,
    VoiceOffline,
    VoiceProvider,
    VoiceSearch,
    VoiceStreaming,
    VoiceTimestamps,
)

__all__ = [
    "AsyncCacheProvider",
    "AsyncFileSystemProvider",
    "AsyncLLMProvider",
    "AsyncModelListing",
    "AsyncStorageProvider",
    "AsyncStreamingLLMProvider",
    "AsyncVoiceCloningProvider",
    "AsyncVoiceModels",
    "AsyncVoiceProvider",
    "AsyncVoiceSearch",
    "AsyncVoiceStreaming",
    "AsyncVoiceTimestamps",
    "CacheBatches",
    "CacheChanges",
    "CacheKeys",
    "CacheLeases",
    "CacheMatching",
    "CacheProvider",
    "CacheVersion",
    "FileSystemProvider",
    "LLMProvider",
    "ModelLifetimes",
    "ModelListing",
    "PricingProvider",
    "StorageProvider",
    "StreamingLLMProvider",
    "TokenCounter",
    "UsageBounds",
    "VoiceCloningProvider",
    "VoiceModels",
    "VoiceOffline",
    "VoiceProvider",
    "VoiceSearch",
    "VoiceStreaming",
    "VoiceTimestamps",
]
