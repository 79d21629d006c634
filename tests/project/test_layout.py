"""Every test is in the folder of its package, so that `pytest tests/cache` tests the cache."""

from __future__ import annotations

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
