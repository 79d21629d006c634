"""One small host between an application and its language models, caches, storages and voices.

::

    import llmcore

    with llmcore.load() as core:
        print(core.llm.chat("Write a haiku about rain").text)
"""

TYPE_CHECKING = False  # as `typing` has it, whose import would cost more than everything else here
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

__all__ = [
    "CacheManager",
    "Core",
    "LLMCoreError",
    "Options",
    "Provider",
    "__version__",
    "errors",
    "get_cache",
    "hookimpl",
    "load",
    "types",
]

__version__ = "0.1.0"

# Where each public name lives. Looked up at its first use, so that `import llmcore` costs next to nothing.
_HOMES = {
    "CacheManager": "llmcore.cache",
    "Core": "llmcore.core",
    "LLMCoreError": "llmcore.errors",
    "Options": "llmcore.hookspecs",
    "Provider": "llmcore.hookspecs",
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
