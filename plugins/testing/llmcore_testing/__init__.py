"""Test tools for applications and plugins: the simulator, conformance kits, cassettes and real servers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llmcore_testing.conformance import (
        CacheConformance,
        EngineConformance,
        LedgerConformance,
        LLMConformance,
        RateLimitConformance,
        StorageConformance,
        VoiceConformance,
    )
    from llmcore_testing.simulator import Fault, Simulator
    from llmcore_testing.tcp_proxy import TcpProxy

__all__ = [
    "CacheConformance",
    "EngineConformance",
    "Fault",
    "LLMConformance",
    "LedgerConformance",
    "RateLimitConformance",
    "Simulator",
    "StorageConformance",
    "TcpProxy",
    "VoiceConformance",
]

_PARTS: Final = {"Fault": "simulator", "Simulator": "simulator", "TcpProxy": "tcp_proxy"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PARTS.get(name, 'conformance')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
