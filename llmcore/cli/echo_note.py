"""The note below the first answer of `echo`: how to configure a real model."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

__all__ = ["explain_echo"]

_MODEL = "gpt-5.6-luna"


def explain_echo(
    providers: Collection[str], install: str | None, format_set_line: Callable[[tuple[str, ...], str], str]
) -> str:
    """Return the note that names the commands to configure a real model.

    Args:
        providers: The names of the installed llm providers.
        install: The command that installs `openai`; None if the command is unknown.
        format_set_line: See `Settings.format_set_line`.
    """
    provider = format_set_line(("llm", "provider"), "openai")
    lines = ["echo is the built-in substitute for a model. It repeats the prompt. To use a real model, run:"]
    if "openai" not in providers:
        lines.append(f"  {install or 'llmcore plugins'}")
    if not os.environ.get("OPENAI_API_KEY"):
        lines.append("  export OPENAI_API_KEY=sk-...")
    lines.append(f"  {provider} && {format_set_line(('llm', 'model'), _MODEL)}")
    lines.append("or, with a server of your own such as Ollama:")
    if "ollama" in providers:
        lines.append(f"  {format_set_line(('llm', 'provider'), 'ollama')}")
    else:
        lines.append("  export OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_API_KEY=unused")
        lines.append(f"  {provider} && {format_set_line(('llm', 'model'), 'NAME')}")
    return "\n".join(lines)
