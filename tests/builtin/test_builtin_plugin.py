"""The built-in backends are registered through the hooks and load nothing before they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llmcore.builtin import options, plugin
from llmcore.builtin.echo import EchoProvider
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.contracts import (
    AsyncCacheProvider,
    CacheKeys,
    CacheProvider,
    LLMProvider,
    TokenCounter,
    UsageBounds,
)
from llmcore.hookspecs import API_VERSION


def test_the_module_offers_echo_memory_and_file() -> None:
    assert plugin.LLMCORE_API == API_VERSION
    assert [entry.name for entry in plugin.llmcore_llm_providers()] == ["echo"]
    assert [entry.name for entry in plugin.llmcore_cache_providers()] == ["memory", "file"]


def test_create_returns_a_backend_that_keeps_the_contract(tmp_path: Path) -> None:
    (echo,) = plugin.llmcore_llm_providers()
    memory, file = plugin.llmcore_cache_providers()
    model = echo.create(options.EchoOptions())
    assert isinstance(model, EchoProvider)
    assert isinstance(model, LLMProvider)
    assert isinstance(model, TokenCounter)
    assert isinstance(model, UsageBounds)
    assert isinstance(memory.create(memory.options()), MemoryCache)
    cache = file.create(options.FileOptions(cache_dir=tmp_path))
    assert isinstance(cache, FileCache)
    for protocol in (CacheProvider, AsyncCacheProvider, CacheKeys):
        assert isinstance(cache, protocol)
    cache.close()


def test_the_module_loads_no_database_and_no_loop() -> None:
    code = (
        "import sys, llmcore.builtin.plugin as plugin\n"
        "list(plugin.llmcore_cache_providers()), list(plugin.llmcore_llm_providers())\n"
        "print(sorted({'lmdb', 'asyncio', 'platformdirs', 'llmcore.builtin.echo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
