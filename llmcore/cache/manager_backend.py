"""Open the backend of a CacheManager, and find its folder."""

from __future__ import annotations

from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from llmcore.calls.backend import Backend
from llmcore.calls.options import options_to_dict
from llmcore.config.dict_layer import DictLayer, write_value
from llmcore.config.keys import Path as Key
from llmcore.errors import PluginNotFound
from llmcore.support.user_folders import find_cache_folder

if TYPE_CHECKING:
    from llmcore.hookspecs import Provider
    from llmcore.plugins import Catalogue

__all__ = ["find_backend_folder", "open_backend"]

_FOLDER: Final = "cache_dir"
"""The option with the folder of a cache that stores files."""
_OPTION_DEPTH: Final = 3
"""The number of parts in the path of an option: kind, provider, name."""


def open_backend(name: str, cache_dir: str | PathLike[str] | None, options: dict[str, Any]) -> Backend:
    """Return the backend *name* with checked *options*, not yet connected.

    Raises:
        PluginNotFound: No installed plugin provides the backend.
        ConfigError: An option is unknown or invalid.
    """
    from llmcore.config import load_settings
    from llmcore.plugins import Catalogue

    entry = _find_entry(Catalogue(), name)
    if cache_dir is not None and _FOLDER in getattr(entry.options, "__struct_fields__", ()):
        options = {**options, _FOLDER: str(Path(cache_dir))}
    given = {"cache": {"provider": entry.name, entry.name: options}}
    settings = load_settings({}, arguments=_Arguments("arguments", given))
    backend = Backend("cache", entry, settings)
    _ = backend.options
    folder = find_backend_folder(backend, None)
    if folder is not None:
        with suppress(OSError):  # the first use reports the error and continues without the cache
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return backend


def _find_entry(catalogue: Catalogue, name: str) -> Provider:
    try:
        return catalogue.load_provider("cache", name)
    except PluginNotFound as error:
        error.where = f'backend="{name}"'
        if error.suggestion is not None and error.suggestion in catalogue.list_names("cache"):
            error.fix = f'CacheManager(backend="{error.suggestion}")'
        raise


class _Arguments(DictLayer):
    """The options that a `CacheManager` receives as keyword arguments."""

    def find_position(self, path: Key, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        del at
        return f"CacheManager({path[-1]}=...)" if len(path) == _OPTION_DEPTH else "CacheManager(...)"

    def format_set_fix(self, path: Key, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        if len(path) != _OPTION_DEPTH:
            return None
        return f'CacheManager(backend="{path[1]}", {path[-1]}={write_value(path, value)})'

    def format_unset_fix(self, path: Key) -> str | None:
        """See `Layer.format_unset_fix`."""
        return f"CacheManager(...) without {path[-1]}="


def find_backend_folder(backend: Backend, given: str | PathLike[str] | None) -> Path | None:
    """Return the folder of a backend that stores files; otherwise *given*."""
    folder: str | PathLike[str] | None = options_to_dict(backend.options).get(_FOLDER) or given
    if backend.entry.name == "file":  # without a home directory, it stores entries in memory
        return find_cache_folder(folder)
    return None if folder is None else Path(folder)
