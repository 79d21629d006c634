"""Fixtures for several test files: an empty home directory, the plugins of the tests, and the wheels, built once."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.environments import build_wheels
from llmcore.cache import process_cache
from tests.kits.alerts import Hook
from tests.kits.once import make_once

FIXTURES = Path(__file__).parent / "fixtures"
INSTALLERS = {"UV_CACHE_DIR": Path.home() / ".cache" / "uv", "PIP_CACHE_DIR": Path.home() / ".cache" / "pip"}


@pytest.fixture(autouse=True)
def empty_home(test_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Isolate each test from the user's files: a temporary home, working folder and environment."""
    for name, folder in INSTALLERS.items():  # so that no test downloads packages that the machine has
        monkeypatch.setenv(name, os.environ.get(name, str(folder)))
    home, work = test_folder / "home", test_folder / "work"
    for folder in (home, work):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in [*os.environ]:
        if name.startswith(("LLMCORE_", "OPENAI_")) and name not in {
            "LLMCORE_AIMOCK",
            "LLMCORE_AXE",
            "LLMCORE_NO_SKIPS",
        }:
            monkeypatch.delenv(name)
    monkeypatch.chdir(work)
    return home


@pytest.fixture(autouse=True)
def fresh_loggers() -> Iterator[None]:
    """Undo what a command that ran in this process did to our loggers: its handler writes to a stream that is closed by now."""
    yield
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("llmcore")]:
        found = logging.getLogger(name)
        found.propagate = True
        found.handlers = [handler for handler in found.handlers if isinstance(handler, logging.NullHandler)]


@pytest.fixture(autouse=True)
def no_shared_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset the shared cache of the process, so that each test can choose it."""
    monkeypatch.setattr(process_cache, "_shared", None)
    yield
    if process_cache._shared is not None:
        process_cache._shared.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user can enter: pytest closes its own to other users, again at the start of each run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install the plugin `llmcore-scripted` for one test and give its module."""
    monkeypatch.syspath_prepend(str(FIXTURES / "scripted"))
    sys.modules.pop("llmcore_scripted", None)
    yield importlib.import_module("llmcore_scripted")
    sys.modules.pop("llmcore_scripted", None)


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install the plugin `llmcore-speaker` for one test and give its module."""
    monkeypatch.syspath_prepend(str(FIXTURES / "speaker"))
    sys.modules.pop("llmcore_speaker", None)
    yield importlib.import_module("llmcore_speaker")
    sys.modules.pop("llmcore_speaker", None)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build the wheel of the host and of every plugin, once for all workers."""
    return sorted(make_once(tmp_path_factory, "wheels", build_wheels).glob("*.whl"))


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a running receiver of webhooks."""
    hook = Hook()
    yield hook
    hook.close()
