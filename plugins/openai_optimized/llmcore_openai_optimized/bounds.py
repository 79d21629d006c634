"""The most that a request can use, before a byte of it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import tokens
from llmcore_openai_optimized.counting import bound
from llmcore_openai_optimized.windows import Window, bills_cache_writes, window_of

__all__ = ["most_prompt", "most_usage"]

_LIMITS: Final = ("max_completion_tokens", "max_tokens")


def most_usage(request: ChatRequest, *, exact: bool = False) -> Usage | None:
    """Return the usage that costs the most among all that *request* can have; None where nothing bounds it.

    Every input token stands where it costs most: as audio where some is sent, else as written to the vendor's cache
    where that is billed.
    """
    window = window_of(request.model)
    prompt = most_prompt(request, exact=exact)
    answer = _answer(request.parameters, window)
    if prompt is None or answer is None:
        return None
    listens = _listens(request.messages)
    written = prompt if bills_cache_writes(request.model) and not listens else 0
    return Usage(
        input_tokens=prompt,
        output_tokens=answer,
        cache_write_tokens=written,
        cache_write_12h_tokens=written if _for_long(request.parameters) else 0,
        audio_input_tokens=prompt if listens else 0,
        audio_output_tokens=answer if _speaks(request.parameters) else 0,
        estimated=True,
    )


def most_prompt(request: ChatRequest, *, exact: bool = False) -> int | None:
    """Return what the prompt of *request* cannot exceed; None where nothing bounds it."""
    window = window_of(request.model)
    found = [None if _remembers(request.messages) else _bound(request), window and window.context]
    if exact:
        found.append(_counted(request))
    return min((each for each in found if each is not None), default=None)


def _bound(request: ChatRequest) -> int | None:
    try:
        return bound(request)
    except Exception:  # noqa: BLE001 - what is odd about a request is the server's to refuse
        return None


def _counted(request: ChatRequest) -> int | None:
    try:
        count = tokens.count(request)
    except Exception:  # noqa: BLE001 - as above
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


def _for_long(parameters: Mapping[str, Any]) -> bool:
    options = parameters.get("prompt_cache_options")
    return isinstance(options, Mapping) and options.get("ttl") == "12h"


def _remembers(messages: Iterable[Any]) -> bool:
    """Whether an earlier answer is named by the number under which the server keeps its sound."""
    return any(isinstance(each, Mapping) and each.get("audio") for each in messages)


def _listens(messages: Iterable[Any]) -> bool:
    """Whether some of the prompt is sound."""
    return any(part.get("type") == "input_audio" for part in _parts(messages)) or _remembers(messages)


def _speaks(parameters: Mapping[str, Any]) -> bool:
    modalities = parameters.get("modalities")
    return isinstance(modalities, Sequence) and "audio" in modalities


def _parts(messages: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, Iterable) and not isinstance(content, str | bytes):
            yield from (part for part in content if isinstance(part, Mapping))
