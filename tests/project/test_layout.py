"""Tests are in the folder of their package (`pytest tests/cache` tests the cache), and names follow one convention."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OTHERS = {"core", "docs", "errors", "plugins", "project"}
"""Folders of tests that are not named after a package of llmcore."""
HELPERS = {"broken_backends", "fixtures", "kits", "typing"}


def test_every_folder_of_tests_is_named_after_a_package() -> None:
    packages = {init.parent.name for init in ROOT.glob("llmcore/*/__init__.py")}
    folders = {path.parent.relative_to(ROOT / "tests").as_posix() for path in ROOT.glob("tests/**/test_*.py")}
    assert folders - OTHERS - packages == set()


def test_helpers_contain_no_tests() -> None:
    assert [path for name in HELPERS for path in (ROOT / "tests" / name).rglob("test_*.py")] == []


def list_modules() -> list[Path]:
    return sorted([*ROOT.glob("llmcore/**/*.py"), *ROOT.glob("plugins/*/llmcore_*/**/*.py")])


def test_module_names_begin_with_a_letter() -> None:
    """docs/decisions/0017-no-underscore-in-module-names.md: `__all__` says what is public, not the name of the module."""
    allowed = {"__init__", "__main__"}
    assert [
        str(path) for path in list_modules() if path.stem.startswith("_") and path.stem not in allowed
    ] == []


class Module(NamedTuple):
    """The names that a module defines, and those in its `__all__`."""

    names: dict[str, str]
    """Name -> "function", "class", "constant" or "alias"."""
    listed: frozenset[str]


ENTRY_MODULES = ("plugin", "hookspecs")
"""The host calls the functions of these modules as hooks."""
FOUND_BY_NAME = {"configure", "main", "run", "run_chunk"}
"""Functions that are called by their name: of commands, of worker processes."""
DOCUMENTED = {"STAGES"}
PUBLIC = re.compile(
    r"llmcore_\w+|llmcore(\.(compat|contracts|errors|hookspecs|support|testing|types|units)\b.*)?"
)
"""The modules that applications and plugins of others import; and the packages."""


def test_a_name_without_underscore_is_listed_and_used_by_other_modules() -> None:
    """docs/decisions/0017-no-underscore-in-module-names.md."""
    used = _find_uses(_list_users())
    faults = []
    for path in list_modules():
        module, (names, listed) = _name_module(path), _read_module(path)
        if path.stem in ENTRY_MODULES:
            continue
        public = {name for name in names if not name.startswith("_")}
        faults += [
            f"{module}: add {name} to __all__"
            if name in used.get(module, ())
            else f"{module}: only this module uses {name}: call it _{name}"
            for name in public - listed
            if names[name] != "alias" or name in used.get(module, ())
        ]
        if PUBLIC.fullmatch(module) or module.startswith("llmcore_testing."):
            continue
        checked = {name for name in public & listed if names[name] in {"function", "constant"}}
        faults += [
            f"{module}: no other module uses {name}: remove it from __all__ and call it _{name}"
            for name in checked - used.get(module, set()) - FOUND_BY_NAME - DOCUMENTED
        ]
    assert not faults, "\n".join(sorted(faults))


def test_no_module_uses_a_private_name_of_another() -> None:
    used = _find_uses(list_modules())
    assert [f"{module}.{name}" for module in used for name in used[module] if re.match(r"_[^_]", name)] == []


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("from llmcore.forks import lock, watch as see", {"llmcore.forks": {"lock", "watch"}}),
        ("from llmcore.forks import (\n    lock,\n    watch,\n)", {"llmcore.forks": {"lock", "watch"}}),
        ("from llmcore import forks as f\nf.lock()", {"llmcore.forks": {"lock"}}),
        ('from llmcore import forks\nmonkeypatch.setattr(forks, "lock", None)', {"llmcore.forks": {"lock"}}),
        ("import llmcore.forks\nllmcore.forks.lock()", {"llmcore.forks": {"lock"}}),
    ],
)
def test_the_uses_of_a_module_are_found(text: str, used: dict[str, set[str]], tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(text)
    found = _find_uses([tmp_path / "user.py"])
    assert {module: names for module, names in found.items() if module == "llmcore.forks"} == used


def _list_users() -> Iterator[Path]:
    yield from list_modules()
    for pattern in ("tests", "plugins/*/tests", "benchmarks", "examples", "scripts"):
        yield from ROOT.glob(f"{pattern}/**/*.py")
    yield ROOT / "conftest.py"


def _find_uses(paths: Iterable[Path]) -> dict[str, set[str]]:
    """Return the names that other files use of each module, also in programs that are texts of tests."""
    used: dict[str, set[str]] = {}
    modules = {_name_module(path): path for path in list_modules()}
    for path in paths:
        text, own, aliases = path.read_text(), _name_module(path), {}
        for base, in_brackets, in_line in _IMPORT.findall(text):
            for name, alias in _NAME.findall(in_brackets or in_line):
                if f"{base}.{name}" in modules:
                    aliases[alias or name] = f"{base}.{name}"
                elif base != own:
                    used.setdefault(base, set()).add(name)
        for module, name in _DOTTED.findall(text):
            if module in modules and module != own:
                used.setdefault(module, set()).add(name)
        for alias, module in aliases.items():
            names = re.findall(rf'\b{alias}(?:\.|, ")(\w+)', text)
            used.setdefault(module, set()).update(names)
    return used


_IMPORT = re.compile(r"from (llmcore[\w.]*) import (?:\(([^)]*)\)|([^\n(#]*))")
_NAME = re.compile(r"(\w+)(?: as (\w+))?")
_DOTTED = re.compile(r"\b(llmcore[\w.]*)\.(\w+)")


def _name_module(path: Path) -> str:
    parts = path.with_suffix("").parts
    start = next(
        (
            place
            for place, part in enumerate(parts)
            if re.fullmatch(r"llmcore(_\w+)?", part) and place >= len(ROOT.parts)
        ),
        0,
    )
    return ".".join(parts[start:]).removesuffix(".__init__")


@functools.cache
def _read_module(path: Path) -> Module:
    names: dict[str, str] = {}
    listed: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names[node.name] = "function"
        elif isinstance(node, ast.ClassDef):
            names[node.name] = "class"
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__" and node.value is not None:
                listed = set(ast.literal_eval(node.value))
            elif isinstance(target, ast.Name):
                is_constant = target.id.isupper() and len(target.id) > 1 and target.id != "TYPE_CHECKING"
                names[target.id] = "constant" if is_constant else "alias"
    return Module(names, frozenset(listed))


def test_a_module_with_public_names_lists_them_in_all() -> None:
    missing = [
        str(path.relative_to(ROOT)) for path in list_modules() if _find_public(path) and not _has_all(path)
    ]
    assert missing == [], "add __all__"


def _find_public(path: Path) -> list[str]:
    """Return the public functions and classes of the module."""
    names = _read_module(path).names
    return [name for name in names if names[name] in {"function", "class"} and not name.startswith("_")]


def _has_all(path: Path) -> bool:
    return any(line.startswith(("__all__ =", "__all__: ")) for line in path.read_text().splitlines())
