"""Which models of a configuration are about to go, or are gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from llmcore.calls.backend import Backend
from llmcore.config import Settings
from llmcore.errors import LLMCoreError

__all__ = ["endings"]

_SOON: Final = timedelta(days=90)


def endings(
    settings: Settings,
    known: Collection[str],
    backend: Callable[[str], Backend],
    today: date | None = None,
) -> list[str]:
    """Return a line for each configured model that is shut down within 90 days of *today*, or was before.

    Args:
        settings: `[llm] model`, and the models behind the names of `[models]`.
        known: The names of the llm providers.
        backend: Gives an llm backend by its name. One that cannot be had warns of nothing: others say why.
        today: None is today, UTC.
    """
    day = today or datetime.now(UTC).date()
    places: dict[tuple[str, str], tuple[str, str]] = {}
    for path, name in _configured(settings):
        provider, _, model = name.partition(":")
        if provider not in known:  # a model may have colons of its own: ft:gpt-4o:org
            provider, model = settings.llm.provider, name
        places.setdefault((provider, model), path)
    found: list[str] = []
    for (provider, model), path in places.items():
        end = _end(backend, provider, model)
        if end is not None and end <= day + _SOON:
            did = "was" if end <= day else "is"
            found.append(
                f"the model `{model}` of {provider} {did} shut down on {end} ({settings.where(path)})"
            )
    return found


def _configured(settings: Settings) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield where each model is named, and its name."""
    if settings.llm.model and settings.llm.model not in settings.models:
        yield ("llm", "model"), settings.llm.model
    for alias, models in settings.models.items():
        for each in models:
            yield ("models", alias), each


def _end(backend: Callable[[str], Backend], provider: str, model: str) -> date | None:
    from llmcore.contracts import ModelLifetimes  # here, since protocols are dear to make

    try:
        offline = backend(provider).offline
    except LLMCoreError:
        return None
    return offline.shutdown_date(model) if isinstance(offline, ModelLifetimes) else None
