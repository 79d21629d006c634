"""`llmcore.testing` offers its names lazily."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llmcore.testing


def test_the_names_are_sorted_and_each_is_there() -> None:
    assert llmcore.testing.__all__ == sorted(llmcore.testing.__all__)
    for name in llmcore.testing.__all__:
        assert getattr(llmcore.testing, name).__name__ == name
    assert set(llmcore.testing.__all__) <= set(dir(llmcore.testing))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Simulater'"):
        _ = llmcore.testing.Simulater


def test_the_pytest_plugin_and_the_facade_load_nothing() -> None:
    heavy = "{'asyncio', 'msgspec', 'openai', 'pydantic', 'llmcore.testing.simulator', 'llmcore.testing.conformance'}"
    code = f"import sys, llmcore.testing.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
