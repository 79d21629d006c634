"""Test tools for applications and plugins: the simulator and the conformance kits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llmcore_testing.conformance import (
        CacheConformance,
        LedgerConformance,
        LLMConformance,
        StorageConformance,
        VoiceConformance,
    )
    from llmcore_testing.simulator import Fault, Simulator

__all__ = [
    "CacheConformance",
    "Fault",
    "LLMConformance",
    "LedgerConformance",
    "Simulator",
    "StorageConformance",
    "VoiceConformance",
]

_FROM_SIMULATOR: Final = frozenset({"Fault", "Simulator"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    part = "simulator" if name in _FROM_SIMULATOR else "conformance"
    return getattr(import_module(f"{__name__}.{part}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
