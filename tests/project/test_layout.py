"""Tests are in the folder of their package (`pytest tests/cache` tests the cache), and names follow one convention."""

from __future__ import annotations

import ast
from pathlib import Path

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


def test_a_module_with_public_names_lists_them_in_all() -> None:
    missing = [
        str(path.relative_to(ROOT)) for path in list_modules() if _find_public(path) and not _has_all(path)
    ]
    assert missing == [], "add __all__"


def _find_public(path: Path) -> list[str]:
    """Return the public functions and classes of the module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    body = ast.parse(path.read_text()).body
    return [node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def _has_all(path: Path) -> bool:
    return any(line.startswith(("__all__ =", "__all__: ")) for line in path.read_text().splitlines())
