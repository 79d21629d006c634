"""Find a file that hides a package from a plugin, such as `redis.py` next to the user's program.

Python imports the first module on the path that has the package's name. The plugin then fails with an
AttributeError that does not name the file. This module is used only after a failure, because reading the
metadata of distributions takes tens of milliseconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

__all__ = ["HiddenModule", "find_hidden_module", "list_sdk_modules"]


class HiddenModule(NamedTuple):
    """A hidden package, and the file that Python imports in place of the package."""

    name: str
    file: str

    @property
    def message(self) -> str:
        """The fault as a clause for an error message."""
        return f"{self.file} hides the package `{self.name}`"

    @property
    def fix(self) -> str:
        """A line to paste that renames the file."""
        import shlex

        path = Path(self.file)
        path = path.parent if path.name == "__init__.py" else path
        return f"mv {shlex.quote(str(path))} {shlex.quote(str(path.with_name(f'my_{path.name}')))}"


def find_hidden_module(module: str) -> HiddenModule | None:
    """Return the first hidden package among those that the distribution of *module* needs.

    Args:
        module: Name of a module of the plugin, such as `llmcore_acme.plugin`.
    """
    for distribution, name in _iterate_required_modules(module):
        try:
            spec = PathFinder.find_spec(name)
        except Exception:  # noqa: BLE001, S112 - a foreign path hook failed: treat the name as not found
            continue
        if spec is None or spec.origin is None or not os.path.isfile(spec.origin):  # noqa: PTH113
            continue
        if not _is_inside(spec.origin, str(distribution.locate_file(""))):
            return HiddenModule(name, spec.origin)
    return None


def list_sdk_modules(module: str) -> list[str]:
    """Return the top-level modules of the distributions that *module*'s distribution requires directly."""
    return [name for _, name in _iterate_required_modules(module, deep=False)]


def _iterate_required_modules(
    module: str, *, deep: bool = True
) -> Iterator[tuple[metadata.Distribution, str]]:
    """Yield each required distribution with each of its top-level modules, direct requirements first."""
    package = module.partition(".")[0]
    # An editable installation lists no files, so its distribution is looked up by the name of the package.
    names = metadata.packages_distributions().get(package, [package])
    seen = {_normalise(name) for name in names}
    waiting = [requirement for name in names for requirement in _list_requirements(name)]
    while waiting:
        name = waiting.pop(0)
        if _normalise(name) in seen or _normalise(name) == "llmcore-host":
            continue
        seen.add(_normalise(name))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for top in _list_top_levels(distribution):
            yield distribution, top
        if deep:
            waiting += _list_requirements(name)


def _list_requirements(name: str) -> list[str]:
    """Return the requirements of the distribution *name*, without extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    found = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines if "extra ==" not in line]
    return [match[0] for match in found if match]


def _list_top_levels(distribution: metadata.Distribution) -> list[str]:
    files = distribution.files or []
    packages = {file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}  # noqa: PLR2004
    modules = {file.stem for file in files if len(file.parts) == 1 and file.suffix == ".py"}
    return sorted(name for name in packages | modules if name.isidentifier())


def _is_inside(path: str, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
