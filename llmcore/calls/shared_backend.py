"""The backend of shared rate limits: a separate cache, with the options in [limits.shared] or [cache.NAME]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcore.calls.backend import Backend
from llmcore.calls.bridges import has_method
from llmcore.calls.shared_limits import SharedLimits
from llmcore.config import Settings
from llmcore.config.options import check_shared_limits
from llmcore.config.schema import SHARED_LIMITS
from llmcore.errors import LLMCoreError
from llmcore.hookspecs import Provider
from llmcore.plugins import Catalogue

__all__ = ["make_shared_backend", "make_shared_limits"]

_METHODS = ("request_permit", "return_permits", "report_process")


class _Options:
    """Reads the options of the cache from [limits.shared], and all other values from the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read_options(self, kind: str, provider: Provider) -> object:  # noqa: ARG002 - the kind is always cache
        """See `OptionsSource.options`."""
        return check_shared_limits(self._settings, provider)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)


class _SharedBackend(Backend):
    """A cache whose errors name [limits.shared], if that table exists."""

    def adapt_error(self, error: LLMCoreError) -> None:
        """See `Backend.adapt_error`."""
        super().adapt_error(error)
        if isinstance(self.get_written(SHARED_LIMITS), Mapping):
            old, new = f"cache.{self.name}", ".".join(SHARED_LIMITS)
            error.where = error.where and error.where.replace(old, new)
            error.expected = error.expected and error.expected.replace(old, new)
            error.fix = error.fix and error.fix.replace(old, new)


def make_shared_backend(settings: Settings, catalogue: Catalogue) -> Backend:
    """Return the backend that `[limits] shared` names.

    Raises:
        PluginError: No plugin offers the cache, or the plugin is broken.
    """
    shared = settings.shared_limits
    assert shared is not None  # noqa: S101 - the callers check that it is set
    instances = settings.list_instances("cache")
    used = instances.get(shared.name)
    missing = None if used is not None else catalogue.find_missing("cache", shared.name, instances)
    if missing is not None:
        raise missing
    entry = catalogue.load_provider("cache", used or shared.name)
    return _SharedBackend("cache", entry, _Options(settings), instance=None if used is None else shared.name)


def make_shared_limits(settings: Settings, catalogue: Catalogue) -> SharedLimits:
    """Return the rate limits that `[limits] shared` configures.

    Raises:
        ConfigError: The cache cannot share rate limits, or an option is invalid.
    """
    shared = settings.shared_limits
    assert shared is not None  # noqa: S101 - the callers check that it is set
    backend = make_shared_backend(settings, catalogue)
    if not all(has_method(backend.provider, name) for name in _METHODS):
        raise settings.make_error(
            shared.path,
            f"`{'.'.join(shared.path)}` must be a cache that can share rate limits, got `{shared.name}`",
            code="LC104",
            expected="redis, or a plugin whose cache has the methods of `llmcore.contracts.CacheRateLimits`",
            suggestion="redis",
        )
    return SharedLimits(settings.limits, backend, processes=shared.processes, lease_s=shared.lease_s)
