"""One conformance kit for each kind of backend: test classes that define its behaviour. A plugin's tests inherit them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from llmcore_testing.conformance.base import Conformance
    from llmcore_testing.conformance.cache import CacheConformance
    from llmcore_testing.conformance.caller import Caller
    from llmcore_testing.conformance.engine import EngineConformance
    from llmcore_testing.conformance.ledger import LedgerConformance
    from llmcore_testing.conformance.llm import LLMConformance
    from llmcore_testing.conformance.rate_limits import RateLimitConformance
    from llmcore_testing.conformance.storage import StorageConformance
    from llmcore_testing.conformance.voice import VoiceConformance

__all__ = [
    "CacheConformance",
    "Caller",
    "Conformance",
    "EngineConformance",
    "LLMConformance",
    "LedgerConformance",
    "RateLimitConformance",
    "StorageConformance",
    "VoiceConformance",
]

_MODULES = {
    "CacheConformance": "cache",
    "Caller": "caller",
    "Conformance": "base",
    "EngineConformance": "engine",
    "LLMConformance": "llm",
    "LedgerConformance": "ledger",
    "RateLimitConformance": "rate_limits",
    "StorageConformance": "storage",
    "VoiceConformance": "voice",
}

# Register before the import, so that pytest shows both sides of a failed comparison.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in sorted(
            {
                *_MODULES.values(),
                "abilities",
                "broken_server",
                "broken_upstream",
                "cache_abilities",
                "cache_expiry",
                "cache_races",
                "cache_refusals",
                "canary_tests",
                "embeddings",
                "ledger_calls",
                "ledger_contents",
                "ledger_reports",
                "ledger_runs",
                "llm_content",
                "llm_counting",
                "optional_tests",
                "processes",
                "races",
                "storage_abilities",
                "storage_conditional_saves",
                "storage_metadata",
                "storage_races",
                "storage_shared",
                "storage_volume",
                "time_tests",
                "timing",
                "voice_abilities",
                "voice_check",
                "voice_content",
                "workers",
            }
        )
    )
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
