"""The code of the demo. The demo prints the source of these functions and runs them."""

# ruff: noqa: D103 - the demo prints the source of these functions

from __future__ import annotations

import re
import time
from collections.abc import Callable
from inspect import getsource
from pathlib import Path
from typing import Any

__all__ = ["NEXT", "ask", "get_source", "keep", "measure", "name", "render_configuration", "speak", "tell"]

NEXT = """\
export OPENAI_API_KEY=sk-...                      # local server: any text
export OPENAI_BASE_URL=http://127.0.0.1:11434/v1  # local server only
llmcore ask -m openai:gpt-5.6-luna "Write a haiku about rain"
llmcore config init   # then write the choice into llmcore.toml"""


def render_configuration(folder: Path, base_url: str) -> str:
    """Return the text of the demo's llmcore.toml."""
    (folder / "key").write_text("a-key-that-is-not-checked", encoding="utf-8")
    return f"""\
[llm]
provider = "openai"
model = "gpt-5.6-luna"

[llm.openai]
base_url = "{base_url}"
api_key = "file:key"

[cache]
provider = "file"
[cache.file]
cache_dir = '{folder / "cache"}'

[storage]
provider = "fs"
[storage.fs]
root = '{folder / "data"}'

[ledger]
path = '{folder / "ledger.sqlite3"}'
"""


def get_source(function: Callable[..., Any]) -> list[str]:
    """Return the source lines of *function* without type hints."""
    return [re.sub(r": Any| -> \w+|, flush=True", "", line) for line in getsource(function).splitlines()]


def measure(function: Callable[[Any], Any], core: Any) -> tuple[Any, float]:
    """Call *function*; return the result and the duration in seconds."""
    began = time.perf_counter()
    result = function(core)
    return result, time.perf_counter() - began


def ask(core: Any) -> Any:
    return core.llm.chat("Why is the sky blue?")


def tell(core: Any) -> None:
    for delta in core.llm.stream("Tell me a very short story"):
        print(delta.text, end="", flush=True)


def name(core: Any) -> Any:
    return core.llm.chat("Name three rivers")


def keep(core: Any) -> Any:
    core.storage.save("answers/sky.txt", ask(core).text)
    return core.storage.load("answers/sky.txt")


def speak(core: Any) -> Any:
    speech = core.voice.synthesize(ask(core).text)
    core.storage.save("answers/sky.wav", speech.audio)
