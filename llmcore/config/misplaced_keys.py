"""Reject an API key that was written in place of a model name, because a model name is sent, stored and displayed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llmcore.config.keys import Path, format_key
from llmcore.config.layers import Layer, iterate_leaves
from llmcore.errors import ConfigError

__all__ = ["KEY_AS_MODEL", "find_key_faults", "is_like_key"]

_KEY: Final = r"""(?x)
      sk[-_].+                                                        # OpenAI, Anthropic, OpenRouter, DeepSeek, ElevenLabs
    | (?:gsk|hf|ghp|gho|pk|rk|r8|fw|tgp_v1|csk|xai|pplx|key)[-_][A-Za-z0-9]{20,}      # Groq, Hugging Face, GitHub, xAI, ...
    | (?:nvapi|glpat|github_pat|whsec)[-_][\w-]{16,}
    | AIza[\w-]{20,} | (?:AKIA|ASIA)[A-Z0-9]{12,}                     # Google, AWS
    | eyJ[\w-]{10,}(?:\.[\w-]*)*                                      # a JSON Web Token
    | (?=[a-zA-Z]*[0-9])(?=[0-9]*[a-zA-Z])[A-Za-z0-9]{32,}            # Azure, Mistral, Together; no model name has such a long word
    """

KEY_AS_MODEL: Final = "looks like an API key; it is not shown here"
"""The second half of an error message. The first half names the setting that contains the API key."""


def is_like_key(name: str) -> bool:
    """Return whether *name*, or its part after the provider, looks like an API key."""
    name = name.strip().removeprefix("Bearer ").lstrip()
    provider, _, model = name.partition(":")
    return _is_key(name) or ("@" not in provider and _is_key(model))


def _is_key(text: str) -> bool:
    # The pattern is compiled here and not at the import, because many configurations name no model.
    return re.fullmatch(_KEY, text) is not None


def find_key_faults(layer: Layer) -> list[ConfigError]:
    """Return a fault for each model name in *layer* that looks like an API key."""
    return [
        layer.make_error(
            path,
            f"{place} {KEY_AS_MODEL}",
            code="LC104",
            at="key" if is_name else "value",
            expected="the name of a model; put the key into an environment variable, such as OPENAI_API_KEY",
            fix=layer.format_set_fix(("llm", "model"), "gpt-5.6-luna") if path == ("llm", "model") else None,
            secret=True,
        )
        for path, place, is_name in _find_models(layer)
    ]


def _find_models(layer: Layer) -> Iterator[tuple[Path, str, bool]]:
    """Yield each model name that looks like an API key.

    Yield the path of the name, the words for the setting in an error, and whether the name is the key of a table.
    """
    seen: set[Path] = set()
    for path, value in iterate_leaves(layer.tree):
        base = 2 if path[:1] == ("profiles",) else 0
        section, name = path[base : base + 1], path[base + 1 : base + 2]
        if section in (("prices",), ("limits",), ("models",)) and any(
            is_like_key(str(part)) for part in name
        ):
            if path[: base + 2] not in seen:
                seen.add(path[: base + 2])
                yield path[: base + 2], f"a name in [{section[0]}]", True
        elif section == ("models",) or path[-1:] == ("model",):
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str) and is_like_key(text):
                    yield path, f"the model in [{format_key(path[base:-1])}]", False
