"""`llmcore.testing` and every path below it are the modules of `llmcore_testing`; without these, errors name the package."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import llmcore_testing
from llmcore.install_lines import FOLDERS, make_install_line

with pytest.warns(DeprecationWarning, match="llmcore.testing is deprecated .*: use llmcore_testing"):
    import llmcore.testing

ROOT = Path(__file__).parents[2]
PATHS = [
    "simulator",
    "simulator.faults",
    "simulator.endpoints.chat",
    "conformance",
    "conformance.base",
    "redis_server",
    "pytest_plugin",
]
HIDE = "import sys; sys.modules['llmcore_testing'] = None\n"


@pytest.mark.parametrize("path", PATHS)
def test_an_old_path_is_the_same_module(path: str) -> None:
    old = importlib.import_module(f"llmcore.testing.{path}")
    assert old is importlib.import_module(f"llmcore_testing.{path}")
    assert old.__name__ == f"llmcore_testing.{path}"
    assert old.__spec__ is not None
    assert old.__spec__.name == f"llmcore_testing.{path}"


def test_an_old_path_may_be_imported_first() -> None:
    program = (
        "from llmcore.testing.simulator.faults import Fault\n"
        "import llmcore_testing, llmcore_testing.simulator.faults as faults\n"
        "assert Fault is faults.Fault is llmcore_testing.Fault"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        check=True,
        timeout=60,
    )


def test_the_names_are_the_same_objects() -> None:
    assert set(llmcore.testing.__all__) <= set(llmcore_testing.__all__), "later names have no old path"
    for name in llmcore.testing.__all__:
        assert getattr(llmcore.testing, name) is getattr(llmcore_testing, name)


def test_an_unknown_path_is_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"llmcore\.testing\.nothing"):
        importlib.import_module("llmcore.testing.nothing")
    with pytest.raises(AttributeError, match="nothing"):
        _ = llmcore.testing.nothing


def test_an_old_path_runs_as_a_program() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "ignore::DeprecationWarning",
        "-m",
        "llmcore.testing.simulator",
        "--help",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("usage: python -m llmcore_testing.simulator")


def test_the_demo_names_all_packages_that_it_lacks_in_one_line() -> None:
    hidden = ("llmcore_testing", "llmcore_openai_optimized", "llmcore_storage_fs")
    program = f"import sys; sys.modules.update(dict.fromkeys({hidden}))\nfrom llmcore.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    names = [each.replace("_", "-") for each in hidden]
    assert (done.returncode, done.stdout) == (6, "")
    assert (
        "needs llmcore-testing, llmcore-openai-optimized and llmcore-storage-fs, which are not installed"
        in done.stderr
    )
    assert f"= fix: {make_install_line(*names)}\n" in done.stderr
    assert make_install_line(*names) == "pip install " + " ".join(str(ROOT / FOLDERS[name]) for name in names)


@pytest.mark.parametrize("arguments", [["demo"], ["plugins", "check", "echo"]])
def test_a_command_without_the_package_says_how_to_install_it(arguments: list[str]) -> None:
    program = f"{HIDE}from llmcore.cli import main; sys.exit(main({arguments}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert f"`llmcore {' '.join(arguments[:2])}` needs llmcore-testing, which is not installed" in done.stderr
    assert "it is in plugins/testing of the repository of llmcore, not on a package index" in done.stderr
    assert f"= fix: {make_install_line('llmcore-testing')}\n" in done.stderr


def test_an_import_without_the_package_says_how_to_install_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{HIDE}import llmcore.testing"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ModuleNotFoundError: llmcore.testing needs llmcore-testing, which is not installed" in done.stderr
    assert f"= fix: {make_install_line('llmcore-testing')}" in done.stderr
    assert "During handling" not in done.stderr
