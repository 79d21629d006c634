"""Aliases of llmcore's Protocols under the names that existing code uses.

Existing code imports these classes from `core.interfaces`; `docs/guides/migration.md` compares every method.
Subclasses of these classes still work. The methods that llmcore calls are described in `llmcore.contracts`.
"""

from __future__ import annotations

from llmcore.contracts import (
    AsyncLLMProvider,
    FileSystemProvider,
    LLMProvider,
    StorageProvider,
    VoiceCloningProvider,
    VoiceProvider,
)
from llmcore.types import Message

__all__ = [
    "ChatMessage",
    "IAsyncLLMProvider",
    "IFileSystemProvider",
    "ILLMProvider",
    "IStorageProvider",
    "IVoiceCloningProvider",
    "IVoiceProvider",
]

ILLMProvider = LLMProvider
"""A language model: `complete(request) -> Reply`.

Applications call `core.llm.generate_completion` and `generate_chat`.
"""

IAsyncLLMProvider = AsyncLLMProvider
"""An asynchronous language model: `acomplete(request) -> Reply`.

Applications call `core.llm.agenerate_completion` and `agenerate_chat`.
"""

IStorageProvider = StorageProvider
"""A storage: `save`, `load`, `exists`, `delete`, `list_files`.

Applications call `core.storage`, whose `save` returns True.
"""

IFileSystemProvider = FileSystemProvider
"""The additional methods of a storage with folders: `create_directory`, `get_file_size`, `get_modified_time`."""

IVoiceProvider = VoiceProvider
"""A voice: `synthesize`, `list_voices`, `get_voice_info`. Applications call `core.voice`."""

IVoiceCloningProvider = VoiceCloningProvider
"""The additional methods of a voice that clones: `clone_voice`, `delete_voice`."""

ChatMessage = Message
"""One message of a conversation: a dict with `role` and `content`."""
