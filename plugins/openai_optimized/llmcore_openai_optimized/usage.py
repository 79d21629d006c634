"""Convert the reported usage; count tokens for missing or implausible numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from llmcore.types import ChatRequest, Usage
from llmcore_openai_optimized import bounds, tokens
from llmcore_openai_optimized.context_windows import find_window
from llmcore_openai_optimized.reported_cost import read_cost

__all__ = ["make_usage", "merge_usage"]

_MOST_TOKENS: Final = 100_000_000
"""Maximum plausible number of tokens, far beyond the context window of any model."""
_PER_CALL: Final = 7
"""Overhead in tokens of a tool call, measured with OpenAI's servers."""
_TEXT_FIELDS: Final = ("content", "refusal", "reasoning_content", "reasoning")


def make_usage(
    reported: Any,
    request: ChatRequest,
    model: str,
    messages: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    has_content: bool,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Usage:
    """Return the usage of an answer, marked as estimated if the server did not report all of it.

    `prompt_tokens` includes the tokens that were read from or written to the cache, and `completion_tokens`
    includes the reasoning tokens. A part that is larger than the whole is wrong. It is ignored if its tokens are
    discounted; otherwise it is reduced to the whole.

    Args:
        reported: The `usage` of the answer, of any type.
        request: The request.
        model: The model that answered. A number of tokens is ignored if it exceeds the context windows of both
            this model and the requested model.
        messages: Returns the messages of all choices, whose tokens are counted if the server reports no usage.
        has_content: True if the messages have content, so that 0 tokens is implausible.
        headers: The headers of the answer, where gateways report the cost.
    """
    sent: Mapping[str, Any] = reported if isinstance(reported, Mapping) else {}
    most = _get_max_tokens(request.model, model)
    prompt = _read_count(sent.get("prompt_tokens"), most) or None  # 0 prompt tokens are implausible
    completion = _read_count(sent.get("completion_tokens"), most * _get_choice_count(request))
    if completion == 0 and has_content:
        completion = None
    into, out = _get_details(sent, "prompt_tokens_details"), _get_details(sent, "completion_tokens_details")
    reasoning = _read_count(out.get("reasoning_tokens"), most) or 0
    if prompt and completion is not None and reasoning:
        # Some servers, such as xAI, do not include the reasoning tokens in the completion tokens, but include
        # them in `total_tokens`.
        completion += reasoning if sent.get("total_tokens") == prompt + completion + reasoning else 0
    whole_in = _count_prompt(request) if prompt is None else prompt
    whole_out = _count_answer(messages(), request.model) if completion is None else completion
    read = _read_cached(into, sent, prompt or 0)
    written = _read_part(into, "cache_write_tokens", (prompt or 0) - read)
    return Usage(
        input_tokens=whole_in,
        output_tokens=whole_out,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_12h_tokens=_read_part(
            _get_details(into, "cache_write_tokens_details"), "ttl_12h_tokens", written
        ),
        reasoning_tokens=min(reasoning, completion or 0),
        audio_input_tokens=_read_part(into, "audio_tokens", prompt or 0),
        audio_output_tokens=_read_part(out, "audio_tokens", completion or 0),
        image_input_tokens=_read_part(into, "image_tokens", prompt or 0),
        image_output_tokens=_read_part(out, "image_tokens", completion or 0),
        estimated=prompt is None or completion is None,
        cost=read_cost(sent, headers, whole_in + whole_out),
    )


def merge_usage(old: Any, new: Any) -> Any:
    """Return the `usage` of a stream after a chunk with *new*; later numbers replace earlier ones.

    Servers split usage over chunks, or repeat growing numbers. An unreported field is null or 0, which must not
    replace a number. A total below the sum of its parts is replaced by this sum.
    """
    if not isinstance(new, Mapping):
        return old
    merged: dict[str, Any] = dict(old) if isinstance(old, Mapping) else {}
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping):
            merged[name] = merge_usage(before, value)
        elif before is None or _is_replacement(value, before):
            merged[name] = value
    total: Any = merged.get("total_tokens")
    parts: list[Any] = [merged.get("prompt_tokens"), merged.get("completion_tokens")]
    if all(map(_is_positive, (total, *parts))) and total < sum(parts):
        merged["total_tokens"] = sum(parts)
    return merged


def _is_replacement(value: Any, before: Any) -> bool:
    if _is_positive(value):
        return True
    return value is not None and not _is_positive(before) and not isinstance(before, Mapping)


def _is_positive(value: Any) -> bool:
    """Return whether *value* is a finite number greater than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _get_max_tokens(*models: str) -> int:
    """Return the largest context window of *models*. On Azure the requested model may have any name."""
    return max((window.context for window in map(find_window, models) if window), default=_MOST_TOKENS)


def _get_choice_count(request: ChatRequest) -> int:
    asked = request.parameters.get("n")
    return asked if isinstance(asked, int) and asked > 1 else 1


def _get_details(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = whole.get(name)
    return details if isinstance(details, Mapping) else {}


def _read_count(value: Any, most: int) -> int | None:
    """Return a number of tokens; None if *value* is not a valid number."""
    if type(value) is int:  # the common case comes first, because an answer reports up to a dozen numbers
        return value if 0 <= value <= most else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return int(value)


def _read_part(details: Mapping[str, Any], name: str, whole: int) -> int:
    return min(_read_count(details[name], _MOST_TOKENS) or 0, whole) if name in details else 0


def _read_cached(details: Mapping[str, Any], sent: Mapping[str, Any], prompt: int) -> int:
    """Return the tokens read from the cache. DeepSeek and Moonshot report these tokens in fields of their own.

    Cached tokens are discounted, so a number greater than the prompt is ignored.
    """
    told = (details.get("cached_tokens"), sent.get("prompt_cache_hit_tokens"), sent.get("cached_tokens"))
    return next((found for each in told if (found := _read_count(each, prompt))), 0)


def _count_prompt(request: ChatRequest) -> int:
    """Count the tokens of the prompt, or return an upper bound if the count fails.

    The answer is paid for, so a failed count must not lose it.
    """
    try:
        return int(tokens.count(request))
    except Exception:  # noqa: BLE001 - the answer is paid for and must not be lost
        return bounds.bound_prompt(request) or 0


def _count_answer(messages: Iterable[Mapping[str, Any]], model: str) -> int:
    """Count the tokens of the texts and tool calls of all choices."""
    total = 0
    for message in messages:
        calls = [call for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
        inner = [call.get("function") or call.get("custom") for call in calls]
        inner.append(message.get("function_call"))
        texts = [_join_text(message.get(name)) for name in _TEXT_FIELDS]
        for each in inner:
            if isinstance(each, Mapping):
                total += _PER_CALL
                texts += [_join_text(each.get(name)) for name in ("name", "arguments", "input")]
        total += sum(int(tokens.count(text, model)) for text in texts if text)
    return total


def _join_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else ()
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
