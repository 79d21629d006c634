"""The old name of `llmcore_testing`, from the distribution llmcore-testing.

All import paths below `llmcore.testing` still work until llmcore 1.0, with a DeprecationWarning.
`llmcore.testing.NAME` is the same module as `llmcore_testing.NAME`, also for `python -m`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from llmcore.deprecations import warn_deprecated
from llmcore.errors import PluginNotFound
from llmcore.missing_plugin import require_testing

if TYPE_CHECKING:
    from llmcore_testing import (
        CacheConformance,
        Fault,
        LLMConformance,
        Simulator,
        StorageConformance,
        VoiceConformance,
    )

__all__ = [
    "CacheConformance",
    "Fault",
    "LLMConformance",
    "Simulator",
    "StorageConformance",
    "VoiceConformance",
]

_TARGET = "llmcore_testing"


class _Alias:
    """Finds `llmcore.testing.NAME` and loads it as `llmcore_testing.NAME`."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of an alias; None for every other module."""
        del path, target
        if not name.startswith(f"{__name__}."):
            return None
        real = importlib.util.find_spec(_TARGET + name.removeprefix(__name__))
        if real is None:
            return None
        spec = ModuleSpec(name, _Loader(real), origin=real.origin)
        spec.submodule_search_locations = real.submodule_search_locations
        return spec


class _Loader(importlib.abc.Loader):
    """A loader that returns the module of another spec instead of a new module."""

    def __init__(self, real: ModuleSpec) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the real module."""
        del spec
        return importlib.import_module(self._real.name)

    def exec_module(self, module: ModuleType) -> None:
        """Restore the real spec, because the import system has set the spec of the alias."""
        module.__spec__ = self._real

    def get_code(self, name: str) -> CodeType | None:
        """Return the code of the real module, for `python -m`."""
        del name
        loader: Any = self._real.loader
        code: CodeType | None = loader.get_code(self._real.name)
        return code


def _check_installed() -> None:
    try:
        require_testing(__name__)
    except PluginNotFound as error:
        message = str(error)
    else:
        return
    raise ModuleNotFoundError(message, name=_TARGET)


_check_installed()
warn_deprecated(__name__, _TARGET, "llmcore 1.0")
# Insert `_Alias` before the finder of folders, because that finder would load a second copy of each module.
sys.meta_path.insert(0, _Alias)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_TARGET), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
