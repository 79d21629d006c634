"""Find every fault of a configuration, including the options and keys of its providers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llmcore.calls.backend import Backend, build_backend
from llmcore.calls.shared_backend import make_shared_backend, make_shared_limits
from llmcore.cli.model_shutdowns import find_shutdowns
from llmcore.cli.used_providers import list_chosen
from llmcore.config import Settings, find_project_file, get_user_file, is_present, load_settings
from llmcore.config.fields import get_fields, has_type
from llmcore.config.names import check_names
from llmcore.config.schema import SHARED_LIMITS
from llmcore.config.tables import find_table_faults, hide_table_secrets
from llmcore.errors import ConfigError, LLMCoreError, PluginError
from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue
from llmcore.support.user_folders import get_user_folder, get_working_folder
from llmcore.types import Secret

__all__ = ["find_faults", "find_warnings", "hide_secrets", "list_files", "list_places"]

_CREATED_KINDS = ("llm", "voice")
"""Kinds whose selected providers are created during the check, because some report a missing key only when they are created.

A provider that has a table but is not selected is not created, because it may lack its API key.
"""


def find_faults(config: str | None, profile: str | None) -> list[LLMCoreError]:
    """Return every fault; an empty list means that the configuration works."""
    try:
        settings = load_settings(config, profile=profile)
    except ConfigError as error:
        return list(error.faults or (error,))
    catalogue = Catalogue()
    faults: list[LLMCoreError] = [*settings.warnings]
    try:
        _ = settings.budgets
    except ConfigError as error:
        faults += error.faults or (error,)
    faults += check_names(settings, catalogue, unused=True)
    faults += find_table_faults(settings, catalogue)
    for kind, name in _list_providers(settings, catalogue):
        faults += _find_provider_faults(settings, catalogue, kind, name)
    shared = settings.shared_limits
    used = None if shared is None else settings.list_instances("cache").get(shared.name, shared.name)
    if used is not None and not catalogue.find_missing("cache", used):
        try:
            make_shared_limits(settings, catalogue)
        except ConfigError as error:
            faults += error.faults or (error,)
        except LLMCoreError as error:
            faults.append(error)
    return faults


def find_warnings(config: str | None, profile: str | None) -> list[str]:
    """Return warnings about a configuration without faults: models that were shut down or soon will be."""
    settings = load_settings(config, profile=profile)
    catalogue = Catalogue()
    return find_shutdowns(
        settings,
        [*catalogue.list_names("llm"), *settings.list_instances("llm")],
        lambda name: build_backend("llm", name, settings, catalogue),
    )


def hide_secrets(settings: Settings) -> None:
    """Hide in *settings* every value that a provider declares secret.

    Values of options with names such as `api_key` are hidden in any case.
    """
    catalogue = Catalogue()
    hide_table_secrets(settings, catalogue)
    for kind in KINDS:
        for name in settings.list_tables(kind):
            try:
                used = settings.list_instances(kind).get(name, name)
                fields = get_fields(catalogue.load_provider(kind, used).options)
            except PluginError:
                continue  # options with names such as `api_key` are hidden nevertheless
            for field in fields.values():
                if has_type(field.type, Secret):
                    settings.hide((kind, name, field.key))
    if settings.shared_limits is not None:
        try:
            fields = get_fields(make_shared_backend(settings, catalogue).entry.options)
        except PluginError:
            return
        for field in fields.values():
            if has_type(field.type, Secret):
                settings.hide((*SHARED_LIMITS, field.key))


def list_files(config: str | None) -> list[Path]:
    """Return the files from which the configuration is read."""
    return [Path(place["path"]) for place in list_places(config)[:2] if place["exists"]]


def list_places(config: str | None) -> list[dict[str, Any]]:
    """Return the paths of the two configuration files, then of the folders of cache and state, whether they exist or not."""
    found = {
        "user file": get_user_file(os.environ),
        "project file": _find_project_file(config),
        "cache": get_user_folder("cache", os.environ),
        "state": get_user_folder("state", os.environ),
    }
    return [
        {
            "name": name,
            "path": None if path is None else str(path),
            "exists": path is not None and is_present(path),
        }
        for name, path in found.items()
    ]


def _find_project_file(config: str | None) -> Path | None:
    """Return the project file, or the path where it would be created; None if the working directory is unusable."""
    named = config or os.environ.get("LLMCORE_CONFIG")
    if named:
        return Path(named)
    try:
        here = get_working_folder()
    except OSError:
        return None
    try:
        return find_project_file(here) or here / "llmcore.toml"
    except ConfigError:  # the user has no right to search a parent folder
        return here / "llmcore.toml"


def _list_providers(settings: Settings, catalogue: Catalogue) -> list[tuple[str, str]]:
    """Return the kind and name of every provider that is in use or has a table."""
    chosen = list_chosen(settings)
    for kind in KINDS:
        chosen += [(kind, name) for name in settings.list_tables(kind)]
    return [
        (kind, name)
        for kind, name in dict.fromkeys(chosen)
        if not catalogue.find_missing(kind, settings.list_instances(kind).get(name, name))
    ]


def _find_provider_faults(
    settings: Settings, catalogue: Catalogue, kind: str, name: str
) -> list[LLMCoreError]:
    faults: list[LLMCoreError] = []
    try:
        backend = build_backend(kind, name, settings, catalogue)
        _ = backend.options
        faults += _find_missing_model(settings, backend) if kind == "llm" else []
        if kind in _CREATED_KINDS and (kind, name) in list_chosen(settings):
            _ = backend.provider
    except ConfigError as error:
        return [*faults, *(error.faults or (error,))]
    except LLMCoreError as error:
        return [*faults, error]
    return faults


def _find_missing_model(settings: Settings, backend: Backend) -> list[LLMCoreError]:
    name = backend.name
    if settings.llm.provider != name or settings.llm.model or backend.entry.default_model:
        return []
    owner = settings.find_owner(("llm", "provider"))
    return [
        settings.make_error(
            "llm.provider",
            f"no model is configured for the llm provider `{name}`",
            code="LC112",
            expected="the name of a model in [llm] model",
            fix=owner.format_set_fix(("llm", "model"), "NAME"),
        )
    ]
