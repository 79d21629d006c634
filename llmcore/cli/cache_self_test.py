"""Try each operation of the configured cache within a time limit, for `llmcore doctor`."""

from __future__ import annotations

import threading
from pathlib import Path

from llmcore.cache.self_test import try_operations
from llmcore.calls.backend import Backend, build_backend
from llmcore.calls.drivers import run
from llmcore.calls.steps import Act
from llmcore.config import load_settings
from llmcore.errors import LLMCoreError
from llmcore.plugins import Catalogue
from llmcore.threads import start_thread

__all__ = ["find_failing_operations"]


def find_failing_operations(
    config: str | None, profile: str | None, limit_s: float
) -> tuple[str, dict[str, str], str | None] | None:
    """Return the name of the configured cache, its failing operations with the reasons, and a fix.

    Return None if the cache cannot be tried: the configuration or the plugin has an error, or the folder does not
    exist (a trial would create the folder). A cache that does not answer within *limit_s* seconds is reported as a
    failing `get`.
    """
    try:
        settings = load_settings(config, profile=profile)
        backend = build_backend("cache", settings.cache.provider, settings, Catalogue())
        folder = getattr(backend.provider, "folder", None)
    except LLMCoreError:  # the checks of the configuration and the plugins report this error
        return None
    if isinstance(folder, Path) and not folder.exists():
        return None
    outcomes: list[dict[str, str]] = []
    errors: list[LLMCoreError] = []
    trial = threading.Thread(target=lambda: outcomes.append(run(_try(backend, errors))), daemon=True)
    if start_thread(trial):
        trial.join(limit_s)
    found = dict(outcomes[0]) if outcomes else {"get": f"no answer within {limit_s:g} s"}
    if outcomes and errors and errors[0].expected:
        found[next(iter(found))] += f"; expected: {errors[0].expected}"
    return backend.name, found, errors[0].fix if errors else None


def _try(backend: Backend, errors: list[LLMCoreError]) -> Act[dict[str, str]]:
    found = yield from try_operations(backend, errors)
    closing = backend.detach_close()
    if closing is not None:
        yield closing()
    return found
