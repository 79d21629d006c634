"""Make a mistake on purpose, read the error, paste its fix like a user, and try again."""

from __future__ import annotations

import ast
import os
import shlex
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import llmcore
from llmcore.cli import main
from llmcore.core import Core
from llmcore.errors import LLMCoreError

__all__ = ["KEY", "Mistake", "Workshop", "find_closed_port"]

KEY = "sk-local-0123456789"

Call = Callable[[Core], Any]


class Mistake(NamedTuple):
    """One mistake and what its error has to say: a text for each point of the rubric."""

    name: str
    value: str
    """The bad value."""
    place: str
    valid: str
    nearest: str | None = None
    """None if there is no near name."""
    code: str = ""
    says: tuple[str, ...] = ()
    """What else has to be in it."""


class Workshop:
    """A folder with `llmcore.toml`, and calls that go wrong in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "llmcore.toml"

    def write(self, text: str) -> None:
        """Write the configuration."""
        self.file.write_text(text)

    def fail(self, call: Call) -> LLMCoreError:
        """Make *call*, which fails, and return its error."""
        try:
            with llmcore.load() as core:
                call(core)
        except LLMCoreError as error:
            return error
        raise AssertionError("the mistake was not noticed")

    def paste(self, fix: str, call: Call) -> Any:
        """Do what *fix* says, then make *call* again and return what it returns."""
        if fix.startswith("llmcore "):
            for line in fix.split(" && "):
                assert main(shlex.split(line)[1:]) == 0, line
        elif fix.startswith("export "):
            name, _, value = fix.removeprefix("export ").partition("=")
            os.environ[name] = KEY if value == "sk-..." else shlex.split(value)[0]
        elif fix.startswith("["):
            self.write(self.file.read_text() + "\n" + fix.replace("; ", "\n") + "\n")
        else:
            return self._call_as_told(fix)
        with llmcore.load() as core:
            return call(core)

    def _call_as_told(self, fix: str) -> Any:
        """Make the call that *fix* shows: `chat(..., timeout=120)`."""
        node = ast.parse(fix.removeprefix("core.llm."), mode="eval").body
        assert isinstance(node, ast.Call), fix
        named: Mapping[str, Any] = {
            keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords
        }
        with llmcore.load() as core:
            method = getattr(core.llm, ast.unparse(node.func).rpartition(".")[2])
            return method("Hi", **named)


def find_closed_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
