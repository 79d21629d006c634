"""`llmcore_testing` offers its names lazily."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llmcore_testing


def test_the_exported_names_exist_and_are_sorted() -> None:
    assert llmcore_testing.__all__ == sorted(llmcore_testing.__all__)
    for name in llmcore_testing.__all__:
        assert getattr(llmcore_testing, name).__name__ == name
    assert set(llmcore_testing.__all__) <= set(dir(llmcore_testing))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Simulater'"):
        _ = llmcore_testing.Simulater


def test_the_pytest_plugin_and_the_facade_load_nothing() -> None:
    heavy = "{'asyncio', 'msgspec', 'openai', 'pydantic', 'llmcore_testing.simulator', 'llmcore_testing.conformance'}"
    code = f"import sys, llmcore_testing.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
