"""Looks for every fault of a configuration, its providers' options and keys included; shared with `doctor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llmcore.calls.backend import Backend
from llmcore.cli.lifetimes import endings
from llmcore.config import Settings, load_settings, project_file, user_file
from llmcore.config.fields import fields_of, mentions
from llmcore.errors import ConfigError, LLMCoreError, PluginError, PluginNotFound
from llmcore.hookspecs import KINDS
from llmcore.plugins import Catalogue
from llmcore.types import Secret

__all__ = ["faults_of", "files_read", "hide_secrets", "places", "warnings_of"]

_TRIED = ("llm", "voice")
"""Kinds whose chosen providers are created to see whether they could serve: it is then that they miss a key."""


def faults_of(config: str | None, profile: str | None) -> list[LLMCoreError]:
    """Return every fault; an empty list is a configuration that serves."""
    try:
        settings = load_settings(config, profile=profile)
    except ConfigError as error:
        return list(error.faults or (error,))
    catalogue = Catalogue()
    faults: list[LLMCoreError] = []
    try:
        _ = settings.budgets
    except ConfigError as error:
        faults += error.faults or (error,)
    for kind, name in _named(settings, catalogue):
        faults += _faults_of_provider(settings, catalogue, kind, name)
    return faults


def warnings_of(config: str | None, profile: str | None) -> list[str]:
    """Return what is no fault of a faultless configuration yet, but will be one."""
    settings = load_settings(config, profile=profile)
    catalogue = Catalogue()
    return endings(
        settings,
        catalogue.names("llm"),
        lambda name: Backend("llm", catalogue.provider("llm", name), settings),
    )


def hide_secrets(settings: Settings) -> None:
    """Let *settings* show no value that its provider declares secret, whatever the option is called."""
    catalogue = Catalogue()
    for kind in KINDS:
        for name in settings.tables(kind):
            try:
                fields = fields_of(catalogue.provider(kind, name).options)
            except PluginError:
                continue  # names and looks of the values still tell
            for field in fields.values():
                if mentions(field.type, Secret):
                    settings.hide((kind, name, field.key))


def files_read(config: str | None) -> list[Path]:
    """Return the files that the configuration is read from."""
    return [Path(place["path"]) for place in places(config)[:2] if place["exists"]]


def places(config: str | None) -> list[dict[str, Any]]:
    """Return where things lie or would lie: the two files first, then the folders."""
    import platformdirs

    named = config or os.environ.get("LLMCORE_CONFIG")
    project = Path(named) if named else project_file(Path.cwd()) or Path.cwd() / "llmcore.toml"
    found = {
        "user file": user_file(os.environ),
        "project file": project,
        "cache": Path(platformdirs.user_cache_dir("llmcore", appauthor=False)),
        "state": Path(platformdirs.user_state_dir("llmcore", appauthor=False)),
    }
    return [
        {
            "name": name,
            "path": None if path is None else str(path),
            "exists": path is not None and path.exists(),
        }
        for name, path in found.items()
    ]


def _named(settings: Settings, catalogue: Catalogue) -> list[tuple[str, str]]:
    """Return the kind and name of every provider that the configuration chooses or has a table for."""
    chosen = [(kind, getattr(settings, kind).provider) for kind in KINDS]
    known = catalogue.names("llm")
    for names in settings.models.values():
        chosen += [("llm", name.partition(":")[0]) for name in names if name.partition(":")[0] in known]
    chosen += [("observers", name) for name in settings.observers]
    for kind in KINDS:
        chosen += [(kind, name) for name in settings.tables(kind) if name in catalogue.names(kind)]
    return list(dict.fromkeys((kind, name) for kind, name in chosen if name))


def _faults_of_provider(settings: Settings, catalogue: Catalogue, kind: str, name: str) -> list[LLMCoreError]:
    faults: list[LLMCoreError] = []
    try:
        backend = Backend(kind, catalogue.provider(kind, name), settings)
        _ = backend.options
        faults += _without_model(settings, backend) if kind == "llm" else []
        if kind in _TRIED and _is_chosen(settings, kind, name):
            _ = backend.provider
    except PluginNotFound as error:
        return [_located(settings, kind, error)]
    except ConfigError as error:
        return [*faults, *(error.faults or (error,))]
    except LLMCoreError as error:
        return [*faults, error]
    return faults


def _located(settings: Settings, kind: str, error: PluginNotFound) -> PluginNotFound:
    """Return *error* with the place that names the provider, and the line that mends it there."""
    if kind in KINDS:
        path = (kind, "provider")
        error.where = settings.where(path)
        if error.suggestion and not (error.fix or "").startswith("pip "):
            error.fix = settings.owner(path).to_set(path, error.suggestion)
    return error


def _without_model(settings: Settings, backend: Backend) -> list[LLMCoreError]:
    name = backend.name
    if settings.llm.provider != name or settings.llm.model or backend.entry.default_model:
        return []
    owner = settings.owner(("llm", "provider"))
    return [
        settings.fault(
            "llm.provider",
            f"no model is configured for the llm provider `{name}`",
            code="LC112",
            expected="the name of a model in [llm] model",
            fix=owner.to_set(("llm", "model"), "NAME"),
        )
    ]


def _is_chosen(settings: Settings, kind: str, name: str) -> bool:
    """Return whether a call may reach the provider; one that only has a table may well lack its key."""
    if getattr(settings, kind).provider == name:
        return True
    return kind == "llm" and any(
        model.startswith(f"{name}:") for names in settings.models.values() for model in names
    )
