"""The parameters that two or more APIs have, with the name in each API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore.support.translation.neutral import NeutralParameter

__all__ = ["SAME", "read_settings", "write_settings"]

SAME: Final[Mapping[str, frozenset[str]]] = {
    "chat": frozenset(
        {
            "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
            "safety_identifier", "service_tier", "store", "temperature", "top_p", "user", "verbosity",
        }
    ),
    "responses": frozenset(
        {
            "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
            "safety_identifier", "service_tier", "store", "temperature", "top_p", "user",
        }
    ),
    "messages": frozenset({"temperature", "top_p"}),
}  # fmt: skip
"""For each API, the parameters that have the same name and value in the neutral form."""


def read_settings(
    body: Mapping[str, Any], api: str, read: frozenset[str] | set[str]
) -> dict[str, NeutralParameter]:
    """Return the parameters of *body* whose names are not in *read*.

    A parameter that only this API has gets the name of the API as a prefix. No writer knows such a name, so the field is
    refused.
    """
    return {
        name if name in SAME[api] else f"{api}.{name}": NeutralParameter(value, name)
        for name, value in body.items()
        if name not in read
    }


def write_settings(settings: dict[str, NeutralParameter], api: str, body: dict[str, Any]) -> None:
    """Move parameters from *settings* to *body* if *api* uses their neutral names."""
    for name in sorted(SAME[api] & settings.keys()):
        body[name] = settings.pop(name).value
