"""A plugin that calls `sys.exit` fails its call, and does not end the program of its user."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llmcore
from llmcore.errors import LLMCoreError, PluginBroken, ProviderError

PLUGIN = """
import os, signal, sys
from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Reply, Usage

LLMCORE_API = 1


class Leaver:
    def complete(self, request):
        text = request.messages[-1]["content"]
        if text == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        elif text != "stay":
            sys.exit(0)
        return Reply(text="stayed", model=request.model, usage=Usage())


class AsyncLeaver:
    async def acomplete(self, request):
        return Leaver().complete(request)


def leave(options):
    sys.exit(0)


@hookimpl
def llmcore_llm_providers():
    yield Provider(name="leaver", options=Options, create=lambda options: Leaver())
    yield Provider(name="aleaver", options=Options, create=lambda options: AsyncLeaver())
    yield Provider(name="unmade", options=Options, create=leave)


class Store:
    def __getattr__(self, name):
        if name in ("save", "load", "exists", "delete", "list_files"):
            return leave
        raise AttributeError(name)


@hookimpl
def llmcore_storage_providers():
    yield Provider(name="store", options=Options, create=lambda options: Store())
"""
CALLS: dict[str, Callable[[llmcore.Core], object]] = {
    "chat": lambda core: core.llm.chat("leave"),
    "achat": lambda core: asyncio.run(core.llm.achat("leave")),
    "stream": lambda core: list(core.llm.stream("leave")),
    "load": lambda core: core.storage.load("key"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    info = tmp_path / "acme_leaver-1.0.dist-info"
    info.mkdir()
    (tmp_path / "acme_leaver.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-leaver\nVersion: 1.0\n")
    entries = "".join(f"{name} = acme_leaver\n" for name in ("leaver", "aleaver", "unmade"))
    (info / "entry_points.txt").write_text(
        f"[llmcore.llm]\n{entries}\n[llmcore.storage]\nstore = acme_leaver\n"
    )
    return tmp_path


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "acme_leaver", raising=False)
    return lambda provider: llmcore.load(
        {
            "llm": {"provider": provider},
            "storage": {"provider": "store"},
            "retry": {"attempts": 1},
        }
    )


@pytest.mark.parametrize("provider", ["leaver", "aleaver"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_exit_in_a_call_is_an_error_of_the_plugin(
    load: Any, provider: str, call: Callable[[llmcore.Core], object]
) -> None:
    with load(provider) as core:
        with pytest.raises(
            LLMCoreError, match=r"provider `a?(leaver|store)` failed: it called sys.exit\(0\)"
        ) as caught:
            call(core)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert core.llm.chat("stay").text == "stayed", "the Core must work on"


def test_an_exit_in_create_is_a_broken_plugin(load: Any) -> None:
    with (
        load("unmade") as core,
        pytest.raises(PluginBroken, match=r"could not be created: it called sys.exit\(0\)"),
    ):
        core.llm.chat("leave")


def test_an_exit_while_counting_is_an_error(scripted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted.Scripted, "count_tokens", lambda *_: sys.exit())
    with llmcore.load({"llm": {"provider": "scripted"}}) as core:
        with pytest.raises(ProviderError, match=r"it called sys.exit\(\)"):
            core.llm.count_tokens("text")
        assert core.llm.chat("q").text


def test_an_exit_of_an_observer_disables_the_observer(
    scripted: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted.Listener, "on_call", lambda *_: sys.exit(0))
    config = {"llm": {"provider": "scripted"}, "observers": {"use": ["listener"]}}
    with llmcore.load(config) as core:
        assert core.llm.chat("q").text


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_signal_handler_of_the_program_may_exit_during_a_call(folder: Path) -> None:
    program = (
        "import signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import llmcore\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "with llmcore.load({'llm': {'provider': 'leaver'}}) as core:\n"
        "    core.llm.chat('signal')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
