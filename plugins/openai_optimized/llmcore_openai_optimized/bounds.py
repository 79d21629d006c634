"""Compute the maximum usage of a request before it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmcore.support.chat_bounds import get_answer_count, get_output_limit
from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import tokens
from llmcore_openai_optimized.context_windows import Window, find_window, has_cache_write_fee
from llmcore_openai_optimized.counting import bound

__all__ = ["bound_prompt", "most_usage"]


def most_usage(request: ChatRequest, *, exact: bool = False) -> Usage | None:
    """Return the most expensive usage that *request* can have; None if the usage has no bound.

    All input tokens are counted as the most expensive kind: as audio if the request contains audio, otherwise as
    writes to the vendor's cache if the vendor bills these writes.
    """
    if request.api == "responses" and _has_server_tools(request.parameters):
        return None  # the results of server tools are billed as input, and the model may answer several times
    window = find_window(request.model)
    prompt = bound_prompt(request, exact=exact)
    answer = _bound_answer(request.parameters, window)
    if prompt is None or answer is None:
        return None
    listens = _has_audio_input(request.messages)
    written = prompt if has_cache_write_fee(request.model) and not listens else 0
    return Usage(
        input_tokens=prompt,
        output_tokens=answer,
        cache_write_tokens=written,
        cache_write_12h_tokens=written if _has_12h_cache(request.parameters) else 0,
        audio_input_tokens=prompt if listens else 0,
        audio_output_tokens=answer if _has_audio_output(request.parameters) else 0,
        estimated=True,
    )


def bound_prompt(request: ChatRequest, *, exact: bool = False) -> int | None:
    """Return an upper bound of the prompt's tokens; None if no bound is known."""
    window = find_window(request.model)
    found = [
        None if _refers_to_stored_audio(request.messages) else _bound_by_bytes(request),
        window and window.context,
    ]
    if exact:
        found.append(_count_exact(request))
    return min((each for each in found if each is not None), default=None)


def _bound_by_bytes(request: ChatRequest) -> int | None:
    try:
        return bound(request) if request.api == "chat" else tokens.count(request).bound
    except Exception:  # noqa: BLE001 - an invalid request cannot be counted; the server reports its fault
        return None


def _count_exact(request: ChatRequest) -> int | None:
    try:
        count = tokens.count(request)
    except Exception:  # noqa: BLE001 - an invalid request cannot be counted; the server reports its fault
        return None
    return int(count) if count.exact else None


def _bound_answer(parameters: Mapping[str, Any], window: Window | None) -> int | None:
    """Return the maximum tokens of all choices, from *parameters* or from the limit of the model."""
    limit, choices = get_output_limit(parameters), get_answer_count(parameters)
    if limit is not None:
        one = min(limit, window.context) if window else limit
    elif window:
        one = window.output
    else:
        return None
    return one * choices


def _has_server_tools(parameters: Mapping[str, Any]) -> bool:
    """Return whether a request of the Responses API has tools that the server carries out, or a stored prompt."""
    tools = parameters.get("tools")
    kinds = (
        {tool.get("type") for tool in tools if isinstance(tool, Mapping)}
        if isinstance(tools, list)
        else set()
    )
    return not kinds <= {"function", "custom"} or parameters.get("prompt") is not None


def _has_12h_cache(parameters: Mapping[str, Any]) -> bool:
    options = parameters.get("prompt_cache_options")
    return isinstance(options, Mapping) and options.get("ttl") == "12h"


def _refers_to_stored_audio(messages: Iterable[Any]) -> bool:
    """Return whether a message refers to audio that is stored on the server."""
    return any(isinstance(each, Mapping) and each.get("audio") for each in messages)


def _has_audio_input(messages: Iterable[Any]) -> bool:
    """Return whether the prompt contains audio."""
    return any(
        part.get("type") == "input_audio" for part in _iterate_parts(messages)
    ) or _refers_to_stored_audio(messages)


def _has_audio_output(parameters: Mapping[str, Any]) -> bool:
    modalities = parameters.get("modalities")
    return isinstance(modalities, Sequence) and "audio" in modalities


def _iterate_parts(messages: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, Iterable) and not isinstance(content, str | bytes):
            yield from (part for part in content if isinstance(part, Mapping))
