"""Add the models of the server to the error for an unknown model."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from llmcore.errors import LLMCoreError, NotFound

if TYPE_CHECKING:
    from llmcore.core import Core

__all__ = ["add_model_hint"]

_LIST: Final = "llmcore models"
"""The fix that providers use for an unknown model. An error with another fix is not changed."""
_MOST_NAMED: Final = 6


def add_model_hint(error: LLMCoreError, core: Core, asked: str | None) -> None:
    """Add to *error* the models of the server, the nearest model, and a fix that uses the nearest model.

    Args:
        error: The error of a call; only `NotFound` for a model is changed.
        core: The core that made the call.
        asked: The model argument of the call; None for the configured model.
    """
    if not isinstance(error, NotFound) or error.fix not in (None, _LIST) or not error.provider:
        return
    names: list[str] = []
    with suppress(LLMCoreError):  # report the error of the call even if the models cannot be listed
        names = core.llm.models(error.provider)
    if not names or not error.model or error.failures:
        return
    error.expected = f"one of the models of the server: {', '.join(sorted(names)[:_MOST_NAMED])}" + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )
    better = _find_nearest(error.model, names)
    if better is None:
        return
    error.suggestion = better
    if asked is None:
        error.fix = core.backend("llm").format_set_line(
            ("llm", "model"), _write_model(better, error.provider, core)
        )
    elif asked in core.settings.models:
        error.fix = core.backend("llm").format_set_line(("models", asked), f"{error.provider}:{better}")
    else:
        error.fix = f"-m {error.provider}:{better}"


def _write_model(name: str, provider: str, core: Core) -> str:
    """Return *name* as a value of the setting `llm.model`.

    The result includes the provider if the name contains a colon, or if the current value includes the provider.
    """
    path = ("llm", "model")
    is_named = str(core.backend("llm").get_written(path) or "").startswith(f"{provider}:")
    return f"{provider}:{name}" if ":" in name or is_named else name


def _find_nearest(model: str, names: list[str]) -> str | None:
    from llmcore.config.keys import find_nearest

    lowered = {name.lower(): name for name in names}
    near = find_nearest(model, lowered)
    return lowered[near] if near else names[0] if len(names) == 1 else None
