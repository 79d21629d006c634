"""The application of the demo: what it shows of these functions is what it runs."""

# ruff: noqa: D103 - the demo shows these functions as they stand

from __future__ import annotations

import re
import time
from collections.abc import Callable
from inspect import getsource
from pathlib import Path
from typing import Any

__all__ = ["NEXT", "ask", "configuration", "keep", "name", "source", "speak", "tell", "timed"]

NEXT = """\
export OPENAI_API_KEY=sk-...                      # a local server: any text
export OPENAI_BASE_URL=http://127.0.0.1:11434/v1  # only for a local server
llmcore ask -m openai:gpt-5.6-luna "Write a haiku about rain"
llmcore config init   # then write the choice into llmcore.toml"""


def configuration(folder: Path, base_url: str) -> str:
    """Return the text of the demo's llmcore.toml."""
    (folder / "key").write_text("a-key-that-nobody-checks", encoding="utf-8")
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
"""


def source(function: Callable[..., Any]) -> list[str]:
    """Return the lines of a function as a first program would have them, without its types."""
    return [re.sub(r": Any| -> \w+|, flush=True", "", line) for line in getsource(function).splitlines()]


def timed(function: Callable[[Any], Any], core: Any) -> tuple[Any, float]:
    """Return what the function returns, and the seconds that it took."""
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
