"""A small host between an application and its language models, caches, storages and voices.

::

    import llmcore

    with llmcore.load() as core:
        print(core.llm.chat("Write a haiku about rain").text)
"""

# Stands in for `typing.TYPE_CHECKING`: importing `typing` would take longer than the rest of this module
TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmcore import errors as errors
    from llmcore import types as types
    from llmcore.cache import CacheManager as CacheManager
    from llmcore.cache import get_cache as get_cache
    from llmcore.core import Core as Core
    from llmcore.core import load as load
    from llmcore.errors import LLMCoreError as LLMCoreError
    from llmcore.hookspecs import Options as Options
    from llmcore.hookspecs import Provider as Provider
    from llmcore.hookspecs import hookimpl as hookimpl
    from llmcore.ledger.api_keys import ApiKey as ApiKey
    from llmcore.ledger.usage import UsageBook as UsageBook
    from llmcore.llm.attachments import audio as audio
    from llmcore.llm.attachments import file as file
    from llmcore.llm.attachments import image as image
    from llmcore.llm.client import LLMClient as LLMClient
    from llmcore.llm.options import ChatOptions as ChatOptions
    from llmcore.llm.options import SendOptions as SendOptions
    from llmcore.storage.client import StorageClient as StorageClient
    from llmcore.types import CallEvent as CallEvent
    from llmcore.types import Choice as Choice
    from llmcore.types import Delta as Delta
    from llmcore.types import Embeddings as Embeddings
    from llmcore.types import Message as Message
    from llmcore.types import Reply as Reply
    from llmcore.types import Speech as Speech
    from llmcore.types import ToolCall as ToolCall
    from llmcore.types import Usage as Usage
    from llmcore.types import WireEvent as WireEvent
    from llmcore.voice.client import VoiceClient as VoiceClient
    from llmcore.voice.options import SpeechOptions as SpeechOptions

__all__ = [
    "ApiKey",
    "CacheManager",
    "CallEvent",
    "ChatOptions",
    "Choice",
    "Core",
    "Delta",
    "Embeddings",
    "LLMClient",
    "LLMCoreError",
    "Message",
    "Options",
    "Provider",
    "Reply",
    "SendOptions",
    "Speech",
    "SpeechOptions",
    "StorageClient",
    "ToolCall",
    "Usage",
    "UsageBook",
    "VoiceClient",
    "WireEvent",
    "__version__",
    "audio",
    "errors",
    "file",
    "get_cache",
    "hookimpl",
    "image",
    "load",
    "types",
]

__version__ = "0.1.0"

# Public name -> the module that defines it. The module is imported when the name is first used, which keeps
# `import llmcore` fast.
_HOMES = {
    "ApiKey": "llmcore.ledger.api_keys",
    "CacheManager": "llmcore.cache",
    "CallEvent": "llmcore.types",
    "ChatOptions": "llmcore.llm.options",
    "Choice": "llmcore.types",
    "Core": "llmcore.core",
    "LLMCoreError": "llmcore.errors",
    "Delta": "llmcore.types",
    "Embeddings": "llmcore.types",
    "LLMClient": "llmcore.llm.client",
    "Message": "llmcore.types",
    "Options": "llmcore.hookspecs",
    "Provider": "llmcore.hookspecs",
    "Reply": "llmcore.types",
    "SendOptions": "llmcore.llm.options",
    "Speech": "llmcore.types",
    "SpeechOptions": "llmcore.voice.options",
    "StorageClient": "llmcore.storage.client",
    "ToolCall": "llmcore.types",
    "Usage": "llmcore.types",
    "UsageBook": "llmcore.ledger.usage",
    "audio": "llmcore.llm.attachments",
    "file": "llmcore.llm.attachments",
    "image": "llmcore.llm.attachments",
    "VoiceClient": "llmcore.voice.client",
    "WireEvent": "llmcore.types",
    "get_cache": "llmcore.cache",
    "hookimpl": "llmcore.hookspecs",
    "load": "llmcore.core",
}
_MODULES = frozenset({"errors", "types"})


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"llmcore.{name}")
        if name in _HOMES:
            value = globals()[name] = getattr(import_module(_HOMES[name]), name)
            return value
        raise AttributeError(f"module 'llmcore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
