"""Load a configuration: find, check and merge its layers, and return the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcore.config import sources
from llmcore.config.aliases import resolve
from llmcore.config.check import check_layer
from llmcore.config.dict_layer import DictLayer, copy_tree
from llmcore.config.keys import Path as Key
from llmcore.config.keys import find_nearest
from llmcore.config.layers import (
    MISSING,
    BuiltIn,
    EnvLayer,
    FileLayer,
    Layer,
    lookup,
    merge,
    merge_lists,
)
from llmcore.config.money import check_budgets
from llmcore.config.settings import Settings
from llmcore.config.variables import find_unread
from llmcore.errors import ConfigError
from llmcore.log import get_logger
from llmcore.support.errors import raise_unchained
from llmcore.support.user_folders import get_working_folder

__all__ = ["load_settings"]

_BUILT_IN = BuiltIn()


def load_settings(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | DictLayer | None = None,
) -> Settings:
    """Return the checked configuration.

    Args:
        source: A file, or a dict of the same structure. If None, search for `llmcore.toml`, or `pyproject.toml`
            with [tool.llmcore], in *cwd* and the folders above it.
        profile: The name of a table [profiles.NAME]; None means LLMCORE_PROFILE.
        env: The environment variables; None means the variables of the process.
        cwd: The folder to use instead of the working directory.
        arguments: A dict of the same structure that overrides everything, or a layer that reports its own
            positions.

    Raises:
        ConfigError: The configuration has faults; the attribute `faults` lists all errors.
    """
    loader = _Loader(os.environ if env is None else env, Path(cwd) if cwd is not None else None)
    settings = loader.load(source, profile, arguments)
    if settings is None:
        raise loader.make_error()  # raise the error here, where no local variable holds values of a file
    for warning in settings.warnings:
        _warn_once(warning)
    return settings


class _Loader:
    def __init__(self, env: Mapping[str, str], cwd: Path | None) -> None:
        self.env = env
        self._cwd = cwd
        self.faults: list[ConfigError] = []

    @property
    def cwd(self) -> Path:
        if self._cwd is None or not self._cwd.is_absolute():
            try:
                self._cwd = get_working_folder() / (self._cwd or "")
            except OSError as error:
                raise_unchained(
                    ConfigError(
                        f"the working directory cannot be read to find the configuration: {error.strerror}",
                        code="LC107",
                        expected="a working directory that exists, or a configuration as a dict",
                        fix="cd to another folder",
                    )
                )
        return self._cwd

    def load(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any] | None,
        profile: str | None,
        arguments: Mapping[str, Any] | DictLayer | None,
    ) -> Settings | None:
        files = [layer for layer in (self._read_user_file(), self._read_project(source)) if layer is not None]
        env_layer = EnvLayer(self.env)
        self.faults += env_layer.faults
        layers: list[Layer] = [_BUILT_IN, *files, *self._find_profile(files, profile)]
        if env_layer.tree:
            layers.append(env_layer)
        if arguments and (layer := self._make_given_layer("arguments", arguments)):
            layers.append(layer)
        for layer in layers[1:]:
            if not layer.name.startswith("profile "):  # a profile is checked with its file
                self.faults += check_layer(layer)
        tree: dict[str, Any] = {}
        for layer in layers:
            below, tree = tree, merge(tree, layer.tree)
            self.faults += [_make_gap_fault(layer, path, below) for path in merge_lists(below, tree)]
        tree.pop("profiles", None)
        return self._make_settings(tuple(layers), tree)

    def make_error(self) -> ConfigError:
        """Return all errors as one error. Tracebacks are removed, because their frames contain settings."""
        for fault in self.faults:
            fault.__traceback__ = fault.__context__ = None
        return ConfigError.of(self.faults)

    def _make_settings(self, layers: tuple[Layer, ...], tree: dict[str, Any]) -> Settings | None:
        def find_owner(path: tuple[str, ...]) -> Layer:
            return next(layer for layer in reversed(layers) if layer.get(path) is not MISSING)

        self.faults += check_budgets(tree, find_owner)
        models: dict[str, tuple[str, ...]] = {}
        if isinstance(tree.get("models", {}), Mapping):
            provider = lookup(tree, ("llm", "provider"))
            models, faults = resolve(tree.get("models", {}), find_owner, str(provider))
            self.faults += faults
        if self.faults:
            return None
        return Settings(layers, tree, models, self.env, warnings=find_unread(self.env, layers))

    def _read_user_file(self) -> Layer | None:
        path = sources.get_user_file(self.env)
        if path is None or not sources.is_present(path):
            return None
        return self._read_file("user file", path, personal=True)

    def _read_project(self, source: str | os.PathLike[str] | Mapping[str, Any] | None) -> Layer | None:
        if isinstance(source, Mapping):
            return self._make_given_layer("given", source)
        if source is not None and not isinstance(source, str | os.PathLike):
            raise ConfigError(
                f"the configuration must be a path, a dict or None, got {type(source).__name__}"
            )
        named = source if source is not None else self.env.get("LLMCORE_CONFIG") or None
        if named is None:
            try:
                path = sources.find_project_file(self.cwd)
            except ConfigError as error:
                self.faults.append(error)
                return None
            return None if path is None else self._read_file("project file", path)
        try:
            path = sources.find_given_file(
                named, self.cwd, origin="argument" if source is not None else "LLMCORE_CONFIG", env=self.env
            )
        except ConfigError as error:
            self.faults.append(error)
            return None
        return self._read_file("project file", path, named=os.fspath(named))

    def _make_given_layer(self, name: str, tree: Mapping[str, Any] | DictLayer) -> Layer | None:
        try:
            return tree if isinstance(tree, DictLayer) else DictLayer(name, copy_tree(tree))
        except ConfigError as error:
            self.faults.append(error)
            return None

    def _read_file(
        self, name: str, path: Path, *, personal: bool = False, named: str | None = None
    ) -> FileLayer | None:
        try:
            document = sources.read(path, cwd=self.cwd, env=self.env)
        except ConfigError as error:
            self.faults.append(error)
            return None
        return FileLayer(name, document, personal=personal, named=named)

    def _find_profile(self, files: list[Layer], argument: str | None) -> list[Layer]:
        name = argument or self.env.get("LLMCORE_PROFILE") or None
        if name is None:
            return []
        found: list[Layer] = []
        known: dict[str, None] = {}
        for layer in files:
            profiles = layer.get(("profiles",))
            if isinstance(profiles, Mapping):
                known |= dict.fromkeys(profiles)
            tree = layer.get(("profiles", name))
            if isinstance(tree, Mapping):
                found.append(_make_profile_layer(layer, name, tree))
        if not found and not self.faults:
            models = [model for layer in files if isinstance(model := layer.get(("llm", "model")), str)]
            self.faults.append(_make_profile_fault(name, list(known), argument, models[-1:]))
        return found


_warned: set[str] = set()
"""Warnings that this process has already logged. A program may load its configuration often, but logs each warning
once."""


def _warn_once(warning: ConfigError) -> None:
    if warning.message not in _warned:
        _warned.add(warning.message)
        meant = f"; did you mean {warning.suggestion}?" if warning.suggestion else ""
        get_logger(__name__).warning("%s%s", warning.message, meant)


def _make_profile_layer(layer: Layer, profile: str, tree: Mapping[str, Any]) -> Layer:
    name = f"profile {profile}"
    if isinstance(layer, FileLayer):
        return layer.select_table(name, ("profiles", profile))
    return DictLayer(name, tree, inside=("profiles", profile))


def _make_gap_fault(layer: Layer, path: Key, below: Mapping[str, Any]) -> ConfigError:
    under = below.get(path[0])
    last = len(under) if isinstance(under, list) else 0
    return layer.make_error(
        path,
        f"an entry of [[{path[0]}]] must be a number from 0 to {last}, got {path[1]}",
        code="LC102",
        at="key",
        expected=f"an existing entry, or {last} for the next one",
        fix=layer.format_unset_fix(path),
    )


def _make_profile_fault(name: str, known: list[str], argument: str | None, model: list[str]) -> ConfigError:
    import shlex

    meant = find_nearest(name, known)
    fix = None
    if meant:
        fix = f'profile="{meant}"' if argument else f"export LLMCORE_PROFILE={meant}"
    elif model:
        fix = f"llmcore config set {shlex.quote(f'profiles.{name}.llm.model')} {shlex.quote(model[0])}"
    return ConfigError(
        f"unknown profile `{name}`",
        code="LC108",
        where="argument" if argument else "LLMCORE_PROFILE",
        expected=", ".join(sorted(known)) or f"a table [profiles.{name}.SECTION] in a configuration file",
        suggestion=meant,
        fix=fix,
    )
