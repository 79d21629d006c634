"""The most that a request can use, before a byte of it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import tokens
from llmcore_openai_optimized.windows import Window, bills_cache_writes, window_of

__all__ = ["most_usage"]

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_COUNTED: Final = ("tools", "functions", "tool_choice", "function_call", "response_format")
_UNBOUNDED: Final = frozenset({"audio", "prediction", "web_search_options"})
_PER_MESSAGE: Final = 16
_PREAMBLE: Final = 512
"""More than what servers were seen to add on their own: 216 tokens before tools."""


def most_usage(request: ChatRequest, *, exact: bool = False) -> Usage | None:
    """Return the usage that costs the most among all that *request* can have; None where nothing bounds it.

    Every input token stands where it costs most: as audio where some is sent, else as written to the vendor's cache
    where that is billed.
    """
    window = window_of(request.model)
    prompt = _prompt(request, window, exact=exact)
    answer = _answer(request.parameters, window)
    if prompt is None or answer is None:
        return None
    listens, writes = _listens(request.messages), bills_cache_writes(request.model)
    return Usage(
        input_tokens=prompt,
        output_tokens=answer,
        cache_write_tokens=prompt if writes and not listens else 0,
        audio_input_tokens=prompt if listens else 0,
        audio_output_tokens=answer if _speaks(request.parameters) else 0,
        estimated=True,
    )


def _prompt(request: ChatRequest, window: Window | None, *, exact: bool) -> int | None:
    found = [_bound(request), window and window.context]
    if exact:
        found.append(_counted(request))
    return min((each for each in found if each is not None), default=None)


def _counted(request: ChatRequest) -> int | None:
    try:
        count = tokens.count(request)
    except Exception:  # noqa: BLE001 - what is odd about a request is the server's to refuse
        return None
    return int(count) if count.exact else None


def _answer(parameters: Mapping[str, Any], window: Window | None) -> int | None:
    """Return the tokens of all choices. The larger limit counts, since servers differ in which they obey."""
    said = [parameters.get(name) for name in _LIMITS]
    limits = [each for each in said if isinstance(each, int) and not isinstance(each, bool) and each > 0]
    if limits:
        one = min(max(limits), window.context) if window else max(limits)
    elif window:
        one = window.output
    else:
        return None
    choices = parameters.get("n")
    return one * (choices if isinstance(choices, int) and choices > 1 else 1)


def _bound(request: ChatRequest) -> int | None:
    """Return what a prompt of text cannot exceed: no token is shorter than a byte of what it encodes."""
    if not _UNBOUNDED.isdisjoint(request.parameters) or any(
        part.get("type") != "text" for part in _parts(request.messages)
    ):
        return None
    around = [request.parameters[name] for name in _COUNTED if name in request.parameters]
    try:
        size = len(msgspec.json.encode([request.messages, around]))
    except (TypeError, ValueError, msgspec.MsgspecError):
        return None
    return size + _PER_MESSAGE * len(request.messages) + _PREAMBLE


def _listens(messages: Iterable[Any]) -> bool:
    """Whether some of the prompt is sound: sent, or an earlier answer's."""
    messages = list(messages)
    return any(isinstance(each, Mapping) and each.get("audio") for each in messages) or any(
        part.get("type") == "input_audio" for part in _parts(messages)
    )


def _speaks(parameters: Mapping[str, Any]) -> bool:
    modalities = parameters.get("modalities")
    return isinstance(modalities, Sequence) and "audio" in modalities


def _parts(messages: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, Iterable) and not isinstance(content, str | bytes):
            yield from (part for part in content if isinstance(part, Mapping))
