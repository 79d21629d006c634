"""Find configured models that were shut down, or will be shut down soon."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from llmcore.calls.backend import Backend
from llmcore.config import Settings
from llmcore.errors import LLMCoreError

__all__ = ["find_shutdowns"]

_SOON: Final = timedelta(days=90)


def find_shutdowns(
    settings: Settings,
    known: Collection[str],
    backend: Callable[[str], Backend],
    today: date | None = None,
) -> list[str]:
    """Return a line for each configured model that was shut down, or will be shut down within 90 days of *today*.

    Args:
        settings: The configuration with `[llm] model` and `[models]`.
        known: The names of the llm providers and instances.
        backend: A function that returns the llm backend of a name. A backend that raises `LLMCoreError` is
            skipped.
        today: Defaults to today in UTC.
    """
    day = today or datetime.now(UTC).date()
    places: dict[tuple[str, str], tuple[str, str]] = {}
    for path, name in _list_configured(settings):
        provider, _, model = name.partition(":")
        if not model:
            provider, model = settings.llm.provider, name
        if provider in known:
            places.setdefault((provider, model), path)
    found: list[str] = []
    for (provider, model), path in places.items():
        end = _find_shutdown_date(backend, provider, model)
        if end is not None and end <= day + _SOON:
            did = "was" if end <= day else "is"
            found.append(
                f"the model `{model}` of {provider} {did} shut down on {end} ({settings.find_position(path)})"
            )
    return found


def _list_configured(settings: Settings) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the path in the configuration and the name of each model."""
    if settings.llm.model and settings.llm.model not in settings.models:
        yield ("llm", "model"), settings.llm.model
    for alias, models in settings.models.items():
        for each in models:
            yield ("models", alias), each


def _find_shutdown_date(backend: Callable[[str], Backend], provider: str, model: str) -> date | None:
    from llmcore.contracts import ModelLifetimes  # imported here, because importing protocols is slow

    try:
        offline = backend(provider).offline
    except LLMCoreError:
        return None
    return offline.shutdown_date(model) if isinstance(offline, ModelLifetimes) else None
