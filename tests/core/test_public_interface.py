"""The public interface: its exports, and the cost of importing it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import llmcore
from llmcore import errors

HEAVY = (
    "asyncio",
    "pydantic",
    "openai",
    "msgspec",
    "pluggy",
    "lmdb",
    "tomllib",
    "importlib.metadata",
    "logging",
)


def list_new_modules(code: str) -> set[str]:
    """Run *code* in a fresh process and return the names of the modules that it loads beyond `pass`."""
    show = f"import sys; before = set(sys.modules); {code}; print(*sys.modules.keys() - before)"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_llmcore_loads_one_module_and_nothing_else() -> None:
    assert list_new_modules("import llmcore") == {"llmcore"}


def test_using_llmcore_loads_only_the_needed_modules() -> None:
    assert "asyncio" not in list_new_modules(
        "import llmcore; llmcore.load({}).llm.chat('Hello', cache=False)"
    )


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_llmcore_loads_nothing_heavy(heavy: str) -> None:
    assert heavy not in list_new_modules("import llmcore")


def test_every_public_name_is_there_and_sorted() -> None:
    assert list(llmcore.__all__) == sorted(llmcore.__all__)
    assert dir(llmcore) == sorted(llmcore.__all__)
    for name in llmcore.__all__:
        assert getattr(llmcore, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="lod"):
        llmcore.lod  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize("module", ["errors", "types", "contracts", "hookspecs", "cache"])
def test_the_modules_for_authors_export_their_all(module: str) -> None:
    imported = importlib.import_module(f"llmcore.{module}")
    assert len(set(imported.__all__)) == len(imported.__all__)
    for name in imported.__all__:
        assert hasattr(imported, name)


def test_every_error_class_has_its_own_code() -> None:
    found = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(each, errors.LLMCoreError) for each in found)
    assert len({each.code for each in found}) == len(found)
    assert issubclass(errors.ConfigError, ValueError)


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    drawn = inspect.getdoc(errors)
    assert drawn is not None
    assert all(name in drawn for name in errors.__all__)


def test_an_error_says_everything_on_its_lines() -> None:
    error = errors.ConfigError(
        "unknown key `modle` in [llm]",
        code="LC102",
        where="llmcore.toml:3:1",
        excerpt='3 | modle = "m"\n  | ^^^^^',
        expected="model, provider",
        suggestion="model",
        fix="llmcore config set llm.model m",
        notes=["something to know"],
    )
    assert error.render() == (
        "error[LC102]: unknown key `modle` in [llm]\n"
        " --> llmcore.toml:3:1\n"
        '3 | modle = "m"\n'
        "  | ^^^^^\n"
        "  = expected: model, provider\n"
        "  = help: did you mean `model`?\n"
        "  = note: something to know\n"
        "  = fix: llmcore config set llm.model m"
    )


def test_several_faults_are_reported_in_one_error() -> None:
    first, second = errors.ConfigError("one", code="LC102"), errors.ConfigError("two", code="LC104")
    both = errors.ConfigError.of([first, second])
    assert both.faults == (first, second)
    assert both.code == "LC102"
    assert both.render() == "error[LC102]: one\n\nerror[LC104]: two"
    assert errors.ConfigError.of([first]) is first
